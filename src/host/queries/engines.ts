/** Queries of engines: what has become of the DMA of devices. */
import { hex } from '../../machine/address.ts';
import type { DmaEngine, Incident } from '../../machine/engines/engine.ts';
import { notFound, ok } from '../answers.ts';
import type { Host } from '../host.ts';
import type { EngineView } from '../views.ts';
import { firstOf, leftOut } from './page.ts';
import type { Rows } from './row.ts';

const addressOf = (page: number): string => hex(BigInt(page) << 12n);

export function engineView({ machine }: Host, engine: DmaEngine): EngineView {
  const { id, bdf, access, rounds, stopped, pages, continuousPages, gaps, incidents } = engine;
  const now = stopped?.at ?? machine.clock;
  const iovaOf = (place: number): string => addressOf(rounds.pageAt(place));
  const all = [
    ...gaps.closed.map(({ first, pages, since, until, refused }) => ({
      since: since.toString(),
      until: until.toString(),
      iova: iovaOf(first),
      pages,
      refused: refused.toString(),
    })),
    ...firstOf(gaps.open).map((gap) => ({
      since: gap.since.toString(),
      until: null,
      iova: iovaOf(gap.first),
      pages: gap.end - gap.first,
      refused: engine.refusedIn(gap, now).toString(),
    })),
  ];
  const of = (wanted: Incident['kind']) =>
    incidents
      .filter(({ kind }) => kind === wanted)
      .map(({ at, first, pages }) => ({ at: at.toString(), iova: iovaOf(first), pages }));
  const [moved, freed, reused] = [of('moved'), of('freed'), of('reused')];
  return {
    id,
    bdf,
    access,
    ranges: rounds.ranges.map(({ first, count }) => ({ iova: addressOf(first), length: addressOf(count) })),
    bytesPerSecond: rounds.bytesPerSecond.toString(),
    since: rounds.since.toString(),
    until: now.toString(),
    stopped: stopped?.why ?? null,
    pages,
    continuousPages,
    continuous: continuousPages === pages,
    accesses: engine.accesses(now).toString(),
    refused: engine.refused(now).toString(),
    gaps: firstOf(all),
    moved: firstOf(moved),
    freed: firstOf(freed),
    reused: firstOf(reused),
    ...leftOut({ gaps: all.length, moved: moved.length, freed: freed.length, reused: reused.length }),
  };
}

/** An engine of a function. */
export function engineOf({ machine }: Host, bdf: string, id: number): DmaEngine | null {
  const engine = machine.engines?.all.get(id);
  return engine?.bdf === bdf ? engine : null;
}

export const ENGINE_VIEWS: Rows<'host-engines' | 'engines' | 'engine'> = {
  'host-engines': {
    // Those of functions that are gone, too.
    needs: 'host',
    answer: (host) => ok([...(host.machine.engines?.all.values() ?? [])].map((engine) => engineView(host, engine))),
  },
  engines: {
    needs: 'function',
    answer(host, { bdf }) {
      const engines = [...(host.machine.engines?.all.values() ?? [])].filter((engine) => engine.bdf === bdf);
      return ok(engines.map((engine) => engineView(host, engine)));
    },
  },
  engine: {
    // One of a function that is gone can be read.
    needs: 'host',
    answer(host, { bdf, id }) {
      const engine = engineOf(host, bdf, id);
      return engine ? ok(engineView(host, engine)) : notFound(`engine ${id} of ${bdf}`);
    },
  },
};
