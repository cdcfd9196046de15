/** What engines have met in a command, as events and hazards. */
import { hex } from '../machine/address.ts';
import type { DmaEngine, Incident } from '../machine/engines/engine.ts';
import type { Host } from './host.ts';

const KINDS = { lost: 'engine.gap', regained: 'engine.resumed', moved: 'engine.moved' } as const;
const WHAT = { lost: 'are refused from now on', regained: 'are reached again', moved: 'are other memory from now on' };

/** At the end of a command: whatever has changed, has. */
export function tellEngines(host: Host): void {
  const { engines } = host.machine;
  if (engines === null) return;
  for (const engine of engines.running) for (const incident of engine.takeNews()) tell(host, engine, incident);
  for (const engine of engines.stopEnded()) tellStopped(host, engine);
}

export function tellStopped(host: Host, { id, bdf, stopped }: DmaEngine): void {
  const { why } = stopped!;
  host.emit('engine.stopped', `engine ${id} of ${bdf} has ended (${why})`, { engine: id, bdf, why });
}

function tell(host: Host, engine: DmaEngine, { kind, first, pages }: Incident): void {
  const { id, bdf } = engine;
  const where = {
    engine: id,
    bdf,
    iova: hex(BigInt(engine.rounds.pageAt(first)) << 12n),
    bytes: hex(BigInt(pages) << 12n),
  };
  if (kind !== 'freed' && kind !== 'reused') {
    host.emit(KINDS[kind], `engine ${id} of ${bdf}: ${pages} pages from ${where.iova} on ${WHAT[kind]}`, where);
    return;
  }
  if (!engine.writes) return;
  const { memory } = host.machine;
  const set = engine.setIn(host.machine);
  // What was freed and given to somebody else within one command is told as what it has become.
  for (let place = first; place < first + pages; place++) {
    const frame = set?.frameOf(place) ?? null;
    if (frame === null) continue;
    const owner = memory.runAt(frame)?.owner;
    if ((owner === undefined) !== (kind === 'freed')) continue;
    const what = `${bdf} writes into ${pages} pages from ${where.iova} on`;
    if (owner === undefined)
      host.emit('hazard', `${what}, which nobody owns any more`, { hazard: 'stray-write', bdf, frame });
    else
      host.emit('hazard', `${what}, which belong to somebody else by now: ${owner}`, {
        hazard: 'foreign-write',
        bdf,
        frame,
        owner,
      });
    return;
  }
}
