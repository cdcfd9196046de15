/** `holdover replay`: what a real machine has traced of its IOMMU (`iommu:map`, `iommu:unmap`) becomes batches. */
import { type Client, EXIT, Failure, ofHost } from './client.ts';
import { acting, type Family, textOf, wholeNumber } from './options.ts';
import { note, say, show, withProgress } from './terminal.ts';

interface ReplayOptions {
  host?: string;
  pid?: number;
  iommufd?: number;
  ioas?: number;
  memfd?: number;
  batch?: number;
}

/** Where the batches go. */
interface Target {
  host: string;
  pid: number;
  iommufd: number;
  ioas: number;
  memfd: number;
}

interface Traced {
  op: 'map' | 'unmap';
  iova: bigint;
  length: bigint;
}

interface Outcome {
  applied: number;
  failed: number;
  errors: readonly { index: number; errno: string; where: string; why: string }[];
}

/** A line of ftrace, trace-cmd or perf: `map: IOMMU: iova=0x… - 0x… paddr=0x… size=4096`. */
const LINE = /\b(map|unmap): IOMMU: iova=(0x[0-9a-f]+)\b.*?\bsize=(0x[0-9a-f]+|\d+)/;
const BATCH = 1000;
const FUNCTION = '0000:01:00.0';

export const addReplay: Family = (program) => {
  program
    .command('replay')
    .argument(
      '<trace>',
      'text of iommu:map and iommu:unmap, as ftrace, trace-cmd or perf print it; - is standard input',
    )
    .description('do what a real machine has traced of its IOMMU, in batches')
    .option('--host <host>', 'in an IOAS that is there; all of the following are needed then. Default: a new host')
    .option('--pid <pid>', 'its process', wholeNumber)
    .option('--iommufd <fd>', 'descriptor of the iommufd', wholeNumber)
    .option('--ioas <id>', 'id of the IOAS', wholeNumber)
    .option(
      '--memfd <fd>',
      'descriptor of the memory that is mapped: the lowest IOVA of the trace is its beginning',
      wholeNumber,
    )
    .option('--batch <operations>', `so many in a batch; default: ${BATCH}`, wholeNumber)
    .action(
      acting<ReplayOptions>(async ({ client, options, args: [file] }) => {
        const traced = readTrace(await textOf(file!));
        const target = await targetOf(client, options, traced);
        const outcome = await withProgress(`replay of ${file}`, (tell) =>
          send(client, target, traced, options.batch ?? BATCH, tell),
        );
        show(options, { ...target, operations: traced.length, ...outcome }, ({ applied, failed, errors }) => {
          say(`${target.host}: ${applied} of ${traced.length} operations done, ${failed} refused`);
          for (const { index, errno, where, why } of errors.slice(0, 10))
            say(`${String(index).padStart(7)}  ${errno} ${where}: ${why}`);
          if (failed > 10) say(`${String(failed - 10).padStart(7)}  more`);
        });
        if (outcome.failed > 0) process.exitCode = EXIT.refused;
      }),
    );
};

function readTrace(text: string): Traced[] {
  const traced: Traced[] = [];
  for (const line of text.split('\n')) {
    const [, op, iova, size] = LINE.exec(line) ?? [];
    if (op !== undefined) traced.push({ op: op as Traced['op'], iova: BigInt(iova!), length: BigInt(size!) });
  }
  if (traced.length > 0) return traced;
  throw new Failure(
    EXIT.usage,
    'No line of it is of iommu:map or iommu:unmap. Trace them with "echo 1 > /sys/kernel/tracing/events/iommu/enable", and give the text of /sys/kernel/tracing/trace.',
  );
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;

const leastOf = (traced: readonly Traced[]): bigint =>
  traced.reduce((least, { iova }) => (iova < least ? iova : least), traced[0]!.iova);

/** The IOAS that is named, or one of a new host, with a device attached, and memory for all that is mapped. */
async function targetOf(client: Client, options: ReplayOptions, traced: readonly Traced[]): Promise<Target> {
  const { host, pid, iommufd, ioas, memfd } = options;
  if (host !== undefined) {
    if (pid !== undefined && iommufd !== undefined && ioas !== undefined && memfd !== undefined)
      return { host, pid, iommufd, ioas, memfd };
    throw new Failure(EXIT.usage, 'With --host all of --pid, --iommufd, --ioas and --memfd are needed.');
  }
  const least = leastOf(traced);
  const end = traced.reduce((most, { iova, length }) => (iova + length > most ? iova + length : most), 0n);
  const made = await client.ask<{ id: string }>('POST', '/v1/hosts', { name: 'replay', preset: 'vmm-lab' });
  note(`host ${made.id} is made for it`);
  const process = await client.ask<{ pid: number }>('POST', ofHost(made.id, '/processes'), { name: 'replay' });
  const below = ofHost(made.id, `/processes/${process.pid}`);
  const ask = <Answer>(method: string, path: string, body: object): Promise<Answer> =>
    client.ask<Answer>(method, `${below}/${path}`, body);
  const memory = await ask<{ fd: number }>('POST', 'memfds', { name: 'memory', size: hex(end - least) });
  const context = await ask<{ fd: number }>('POST', 'iommufds', {});
  const { cdev: path } = await client.ask<{ cdev: string }>('GET', ofHost(made.id, `/devices/${FUNCTION}`));
  const cdev = await ask<{ fd: number }>('POST', 'cdevs', { path });
  await ask('PUT', `cdevs/${cdev.fd}/iommufd`, { iommufd: context.fd });
  const space = await ask<{ ioas: number }>('POST', `iommufds/${context.fd}/ioases`, {});
  await ask('PUT', `cdevs/${cdev.fd}/attachment`, { pageTable: space.ioas });
  return { host: made.id, pid: process.pid, iommufd: context.fd, ioas: space.ioas, memfd: memory.fd };
}

/** One batch after the other. */
async function send(
  client: Client,
  { host, pid, iommufd, ioas, memfd: fd }: Target,
  traced: readonly Traced[],
  size: number,
  tell: (what: string) => void,
): Promise<Outcome> {
  const least = leastOf(traced);
  const path = ofHost(host, `/processes/${pid}/iommufds/${iommufd}/ioases/${ioas}/batch`);
  const sum = { applied: 0, failed: 0, errors: [] as Outcome['errors'][number][] };
  for (let base = 0; base < traced.length; base += size) {
    const operations = traced.slice(base, base + size).map(({ op, iova, length }) => {
      const range = { iova: hex(iova), length: hex(length) };
      return op === 'unmap' ? { op, ...range } : { op: 'map-file', ...range, fd, start: hex(iova - least) };
    });
    const { applied, failed, errors } = await client.ask<Outcome>('POST', path, { onError: 'continue', operations });
    sum.applied += applied;
    sum.failed += failed;
    sum.errors.push(...errors.map((error) => ({ ...error, index: base + error.index })));
    tell(`${Math.min(base + size, traced.length)} of ${traced.length} operations`);
  }
  return sum;
}
