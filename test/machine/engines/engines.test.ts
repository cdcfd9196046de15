/**
 * What an engine says of its pages is what one finds who looks at each of them after each command, whatever is asked of the host:
 * 300 hosts, each over 150 commands of any kind, snapshots in between.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '../../../src/host/host.ts';
import { CODEC } from '../../../src/host/state/state.ts';
import type { DmaEngine } from '../../../src/machine/engines/engine.ts';
import { Random } from '../../crash/random.ts';
import { FUNCTIONS, IOVA, PAGE, Wild } from '../../host/invariants/wild.ts';

const HOSTS = 300;
const COMMANDS = 150;
const PAGES = 24;

/** Where each page leads by a look-up of each: a frame, or null. */
function look(host: Host, engine: DmaEngine): (number | null)[] {
  const fn = host.machine.functions.get(engine.bdf);
  return Array.from({ length: PAGES }, (_, page) => {
    // A page may be two leaves of 2 KiB.
    const halves = [0, PAGE / 2].map((half) => fn && host.machine.translate(fn, BigInt(IOVA + page * PAGE + half)));
    const frames = halves.map((found) => {
      if (found === undefined || typeof found === 'string') return null;
      if (engine.access !== 'read' && !found.writeable) return null;
      if (engine.access !== 'write' && !found.readable) return null;
      return Math.floor(found.physical / PAGE);
    });
    return frames[1] === null ? null : frames[0]!;
  });
}

/** An engine as whoever looks again and again sees it. */
class Watcher {
  readonly engine: DmaEngine;
  readonly broken = new Set<number>();
  #frames: (number | null)[];

  constructor(host: Host, engine: DmaEngine) {
    this.engine = engine;
    this.#frames = look(host, engine);
    for (const [page, frame] of this.#frames.entries()) if (frame === null) this.broken.add(page);
  }

  /** After a command: pages that lead elsewhere than before it, or nowhere. A change that is undone within it is not seen here. */
  check(host: Host): void {
    if (this.engine.stopped) return;
    const now = look(host, this.engine);
    for (const [page, frame] of now.entries())
      if (frame === null || (this.#frames[page] !== null && frame !== this.#frames[page])) this.broken.add(page);
    this.#frames = now;
    const refused = now.filter((frame) => frame === null).length;
    assert.equal(this.engine.gaps.pages, refused, 'pages that are refused now');
    assert.ok(this.engine.continuousPages <= PAGES - this.broken.size, 'nothing is missed');
    const set = this.engine.setIn(host.machine);
    for (const [page, frame] of now.entries()) assert.equal(set?.frameOf(page) ?? null, frame);
  }
}

function rebuilt(host: Host): Host {
  const finish = <T>(steps: Generator<void, T>): T => {
    let step = steps.next();
    while (!step.done) step = steps.next();
    return step.value;
  };
  return finish(CODEC.decode(finish(CODEC.encode(host)))) as Host;
}

test(`engines miss nothing, over ${HOSTS} hosts`, (context) => {
  let broken = 0;
  let whole = 0;
  let gaps = 0;
  for (let seed = 1; seed <= HOSTS; seed++) {
    const random = new Random('engines', seed);
    const wild = new Wild(random, 0.5);
    const watchers: Watcher[] = [];
    for (let count = 0; count < COMMANDS; count++) {
      if (watchers.length < 3 && random.chance(0.05)) {
        const { answer } = wild.host.execute({
          op: 'engine.start',
          bdf: random.pick(FUNCTIONS)!.bdf,
          access: random.pick(['read', 'write', 'both'] as const)!,
          ranges: [{ iova: `0x${IOVA.toString(16)}`, length: `0x${(PAGES * PAGE).toString(16)}` }],
          bytesPerSecond: '1073741824',
        });
        if (answer.kind === 'ok') {
          const { id } = answer.value as { id: number };
          watchers.push(new Watcher(wild.host, wild.host.machine.engines!.all.get(id)!));
        }
      }
      wild.step();
      for (const watcher of watchers) watcher.check(wild.host);
    }
    for (const { engine } of watchers) {
      const again = rebuilt(wild.host).machine.engines!.all.get(engine.id)!;
      assert.equal(again.continuousPages, engine.continuousPages);
      assert.equal(again.gaps.pages, engine.gaps.pages);
      broken += PAGES - engine.continuousPages;
      whole += engine.continuousPages;
      gaps += engine.gaps.closed.length;
    }
  }
  context.diagnostic(`pages that were whole to the end: ${whole}, that were not: ${broken}; gaps that ended: ${gaps}`);
  assert.ok(whole > 50 && broken > 1000 && gaps > 50);
});
