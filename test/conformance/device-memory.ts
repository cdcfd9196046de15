/** What a device reaches through its translation: `check` and `dma_write` of the traces. */
import type { Result, TraceHost } from './host.ts';
import type { Json, JsonObject } from './trace.ts';

interface Run {
  address: bigint;
  length: bigint;
  physical: bigint;
  readable: boolean;
}

/** No leaf of a page table is smaller. */
const UNIT = 2048n;
/** Accesses in one request. */
const BATCH = 500;

const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const hex = (value: bigint): string => `0x${value.toString(16)}`;

async function runs(host: TraceHost, path: string): Promise<Run[]> {
  const { items } = await host.ask('GET', path);
  return (items as JsonObject[]).map((run) => ({
    address: BigInt(run.address as string),
    length: BigInt(run.length as string),
    physical: BigInt(run.physical as string),
    readable: run.readable === true,
  }));
}

function translation(host: TraceHost, bdf: string, iova: Json, length: Json): Promise<Run[]> {
  return runs(host, `/devices/${bdf}/translation?iova=${iova}&length=${length}`);
}

/** Does the device reach, byte for byte, the memory that the process has at `va`? */
export async function check(
  host: TraceHost,
  bdf: string,
  pid: number,
  range: { iova: Json; length: Json; va: Json },
): Promise<Result> {
  const [device, process] = await Promise.all([
    translation(host, bdf, range.iova, range.length),
    runs(host, `/processes/${pid}/memory-map?address=${range.va}&length=${range.length}`),
  ]);
  const length = BigInt(range.length as string);
  const left = pieces(device, BigInt(range.iova as string), length);
  const right = pieces(process, BigInt(range.va as string), length);
  return left !== null && left === right ? { ret: 0 } : { ret: -1 };
}

/** The physical memory behind a range, in a form that can be compared; null if there is a hole. */
function pieces(found: Run[], start: bigint, length: bigint): string | null {
  const joined: { physical: bigint; length: bigint }[] = [];
  let at = start;
  for (const run of found.toSorted((a, b) => (a.address < b.address ? -1 : 1))) {
    const skip = at - run.address;
    if (skip < 0n) return null;
    const physical = run.physical + skip;
    const end = smaller(run.address + run.length, start + length);
    if (end <= at) continue;
    const last = joined.at(-1);
    if (last && last.physical + last.length === physical) last.length += end - at;
    else joined.push({ physical, length: end - at });
    at = end;
  }
  if (at < start + length) return null;
  return joined.map((piece) => `${piece.physical}+${piece.length}`).join(' ');
}

/**
 * Dirties what is mapped in the range. The traced device only set dirty bits, so the bytes stay what they are: one in
 * each unit is read and written back.
 */
export async function dmaWrite(host: TraceHost, bdf: string, iova: Json, length: Json): Promise<Result> {
  const mapped = await translation(host, bdf, iova, length);
  const touched = mapped.flatMap((run) => units(run).map((at) => ({ iova: hex(at), readable: run.readable })));
  for (let from = 0; from < touched.length; from += BATCH) {
    const batch = touched.slice(from, from + BATCH);
    const reads = batch.map((unit) => ({ op: 'read', iova: unit.iova, length: 1 }));
    const { results } = await host.ask('POST', `/devices/${bdf}/dma`, { accesses: reads });
    const writes = batch.map((unit, index) => {
      const data = (results as JsonObject[])[index]?.data;
      return { op: 'write', iova: unit.iova, length: 1, ...(data !== undefined && { data }) };
    });
    await host.ask('POST', `/devices/${bdf}/dma`, { accesses: writes });
  }
  return { ret: 0 };
}

function units(run: Run): bigint[] {
  const starts: bigint[] = [];
  for (let at = run.address; at < run.address + run.length; at = (at / UNIT + 1n) * UNIT) starts.push(at);
  return starts;
}
