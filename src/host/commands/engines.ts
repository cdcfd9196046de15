/** Commands on engines of devices: DMA that goes on by itself. */
import { MAX_ENGINE_PAGES, MAX_ENGINES } from '../../limits.ts';
import { DmaEngines } from '../../machine/engines/engines.ts';
import { notFound, ok } from '../answers.ts';
import type { Answer } from '../command.ts';
import type { Host } from '../host.ts';
import { engineOf, engineView } from '../queries/engines.ts';
import type { Family, Rows } from './row.ts';

const invalid = (pointer: string, reason: string): Answer => ({ kind: 'invalid', errors: [{ pointer, reason }] });

/** A range in pages, or what is wrong with it. */
function pagesOf({ iova, length }: { iova: string; length: string }): { first: number; count: number } | string {
  const [start, bytes] = [BigInt(iova), BigInt(length)];
  if (start % 4096n !== 0n || bytes % 4096n !== 0n || bytes === 0n) return 'expected whole pages of 4096 bytes';
  if (start + bytes > 2n ** 64n) return 'expected a range that ends within 64 bits';
  return { first: Number(start >> 12n), count: Number(bytes >> 12n) };
}

/** `left`: pages that may still be gone over. */
function rangesOf(ranges: readonly { iova: string; length: string }[], left: number) {
  const found: { first: number; count: number }[] = [];
  let end = 0;
  let pages = 0;
  for (const [index, range] of ranges.entries()) {
    const read = pagesOf(range);
    if (typeof read === 'string') return invalid(`/ranges/${index}`, read);
    if (read.first < end) return invalid(`/ranges/${index}/iova`, 'expected ranges that ascend and do not overlap');
    end = read.first + read.count;
    pages += read.count;
    if (pages > left)
      return invalid('/ranges', `expected at most ${left} pages: all engines of a host may have ${MAX_ENGINE_PAGES}`);
    found.push(read);
  }
  return found;
}

export const ENGINES: Rows<Family<'engine'>> = {
  'engine.start': {
    needs: 'function',
    run(host, { bdf, access, ranges, bytesPerSecond }) {
      const { machine } = host;
      const engines = [...(machine.engines?.all.values() ?? [])];
      const taken = engines.reduce((sum, { pages }) => sum + pages, 0);
      const found = rangesOf(ranges, MAX_ENGINE_PAGES - taken);
      if (!Array.isArray(found)) return found;
      if (engines.length >= MAX_ENGINES)
        return invalid('', `this host has ${MAX_ENGINES} engines already: delete some`);
      machine.engines ??= new DmaEngines(machine);
      machine.watchEngines();
      const spec = { bdf, access, ranges: found, bytesPerSecond: BigInt(bytesPerSecond) };
      return ok(engineView(host, machine.engines.start(spec)));
    },
  },
  'engine.stop': {
    needs: 'machine',
    run(host, { bdf, id }) {
      const engine = engineOf(host, bdf, id);
      if (!engine) return notFound(`engine ${id} of ${bdf}`);
      stop(host, engine.id);
      const view = engineView(host, engine);
      host.machine.engines!.forget(engine);
      return ok(view);
    },
  },
};

function stop({ machine }: Host, id: number): void {
  const engine = machine.engines!.all.get(id)!;
  if (engine.stopped === null) machine.engines!.stop(engine, 'asked');
}
