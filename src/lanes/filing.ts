/** Hosts that go into files, and come out of them. */
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';
import type { Answer } from '../host/command.ts';
import { unbroken } from '../threads/shield.ts';
import { beginning, type CopyRow, newHostView } from './copies.ts';
import { GivenUp } from './errors.ts';
import { type FiledCommand, HOST_FILE, type HostFile, sealOf } from './host-file.ts';
import { now, type Outcome } from './jobs.ts';
import { packLarge } from './large.ts';
import type { LoadedHost, Rebuilding } from './replay.ts';
import { Effort, inSlices } from './slices.ts';

/** In a command, bytes that are written somewhere. */
const withoutData = (name: string, value: unknown): unknown => (name === 'data' ? undefined : value);

/** The newest commands that a file has, in characters of their JSON. */
const MOST_HISTORY = 8 << 20;
/** Bytes of a piece of the state: a multiple of three, as base64 is to be cut. */
const PIECE = 48 << 10;
/** A state that becomes more than this is none of ours. */
const MOST_STATE = 2 ** 30;

const OPTIONS = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

/** The host as it is. `contents`: with what is in the memory of programs; `stored`: when all that it has executed is. */
export async function fileOf(
  hostId: string,
  { engine: whole, sequence }: LoadedHost,
  contents: boolean,
  from: Rebuilding,
  stored: Promise<void>,
): Promise<HostFile | string> {
  const { pace, store } = from;
  const [described, identity] = [await store.hosts.origin(hostId), await store.hosts.get(hostId)];
  if (described === undefined || identity === undefined || !('spec' in described))
    return 'description of the host any more';
  const { id, name, created } = identity;
  const engine = contents ? whole : await inSlices(whole.withoutContents!(), pace);
  const digest = await inSlices(engine.digest!(), pace);
  const snapshot = await inSlices(engine.snapshot!(), pace);
  await stored;
  const history = await newest(hostId, sequence, contents, from);
  const frame = await unbroken(() => compress(snapshot.bytes, OPTIONS));
  const file = {
    format: HOST_FILE,
    engine: snapshot.engine,
    origin: { id, name, created },
    sequence,
    digest,
    spec: described.spec,
    history,
    state: await inSlices(piecesOf(frame), pace),
  } as const;
  return { ...file, sha256: await inSlices(sealOf(file), pace) };
}

async function newest(
  hostId: string,
  last: number,
  contents: boolean,
  { store, pace }: Rebuilding,
): Promise<FiledCommand[]> {
  const effort = new Effort(pace, () => {});
  const found: { command: FiledCommand; size: number }[] = [];
  let size = 0;
  let first = 0;
  for (let at = 0; at < last; ) {
    const read = await store.journal.read(hostId, at);
    if (read.length === 0) break;
    for (const { sequence, command: text, payload, damaged } of read) {
      at = sequence;
      if (damaged !== undefined || sequence > last) continue;
      const command = JSON.parse(text, contents ? undefined : withoutData) as { op: string };
      // That of a restore is all of a host, with what was in its memory.
      const more = payload && command.op !== 'restore' && { payload: Buffer.from(payload).toString('base64') };
      const took = text.length + (more ? more.payload.length : 0);
      found.push({ command: { sequence, op: command.op, command, ...more }, size: took });
      size += took;
      while (size > MOST_HISTORY) size -= found[first++]!.size;
    }
    if (effort.isOver) await effort.pause();
    effort.resume();
  }
  return found.slice(first).map(({ command }) => command);
}

function* piecesOf(bytes: Buffer): Generator<void, string[]> {
  const pieces: string[] = [];
  for (let at = 0; at < bytes.length; at += PIECE) {
    pieces.push(bytes.toString('base64', at, at + PIECE));
    yield;
  }
  return pieces;
}

function* bytesOf(pieces: readonly string[]): Generator<void, Buffer> {
  const all: Buffer[] = [];
  for (const piece of pieces) {
    all.push(Buffer.from(piece, 'base64'));
    yield;
  }
  return Buffer.concat(all);
}

/** What a file lacks to be a host here. */
const wrong = (field: string, reason: string): Answer => ({
  kind: 'invalid',
  errors: [{ pointer: `/${field}`, reason }],
});

/**
 * Stores the host of a file whose seal is right. The answer is its HostView, with its `devices`, or `invalid` where this version cannot
 * read the file.
 */
export async function takeFrom(
  file: HostFile,
  row: CopyRow,
  { store, restoreHost, pace }: Rebuilding,
): Promise<Outcome<Answer>> {
  const read = async (): Promise<{ bytes: Uint8Array; view: Awaited<ReturnType<typeof newHostView>> } | Answer> => {
    const frame = await inSlices(bytesOf(file.state), pace);
    const bytes = await unbroken(() => decompress(frame, { maxOutputLength: MOST_STATE }));
    const { engine, upgraded } = await inSlices(restoreHost!(bytes, file.engine), pace);
    // What another version has brought to this one is not the same any more.
    if (!upgraded && (await inSlices(engine.digest!(), pace)) !== file.digest)
      return wrong('digest', 'the host in `state` is another one');
    return { bytes, view: await newHostView(engine, pace) };
  };
  const found = await read().catch((error: Error) => {
    if (error instanceof GivenUp) throw error;
    return wrong('state', `this version cannot read it: ${error.message}`);
  });
  if ('kind' in found) return now(found);
  const { bytes, view } = found;
  const { engine, sequence, spec, origin } = file;
  await store.hosts.insert({ ...row, spec }, [beginning(origin.id, sequence, view)], { sequence, engine, bytes });
  return await packLarge(now<Answer>({ kind: 'ok', value: view }), pace);
}
