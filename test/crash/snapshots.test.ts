/** The death of the service while a host is brought back to a snapshot, or made of a file: it has happened, or nothing has. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { batch } from '../support/batch.ts';
import { Host } from '../support/client.ts';
import { MortalApp } from '../support/mortal-app.ts';

const VA = 0x7f00_0000_0000;
const IOVA = 0x1_0000_0000;
const PAGE = 4096;
const TURNS = 6;

const digestOf = async (host: Host): Promise<string> => ((await host.view()) as unknown as { digest: string }).digest;

/**
 * Kills the service while it is asked, and starts it again: whether it has answered before. At any moment: in the first turn before it has
 * begun, and in the last one behind its answer.
 */
async function killedWhile(app: MortalApp, asked: Promise<unknown>, turn: number): Promise<boolean> {
  const answer = asked.then(
    () => true,
    () => false,
  );
  if (turn === TURNS - 1) await answer;
  else await setTimeout(turn * 15);
  await app.service.stop('SIGKILL');
  const answered = await answer;
  await app.start();
  return answered;
}

/** A host of many mappings at random places, so that what is stored of it is in several parts. */
async function largeHost(app: MortalApp): Promise<Host> {
  const host = await app.host();
  const process = await host.process();
  const iommufd = await process.open('/dev/iommu');
  const ioas = await process.allocIoas(iommufd);
  await process.mmap(VA, PAGE);
  const count = 100_000;
  const runs = [{ op: 'map', iova: IOVA, length: PAGE, count, stride: 3 * PAGE, userVa: VA, userVaStride: 0 }];
  await batch({ app, process, iommufd, ioas }, { runs });
  return host;
}

test('a kill while a host is brought back leaves it as it was, or brought back', async (t) => {
  const app = new MortalApp(t);
  await app.start();
  const host = await largeHost(app);
  await host.request('put', '/snapshots/ready');
  const ready = await digestOf(host);
  let done = 0;
  for (let turn = 0; turn < TURNS; turn++) {
    await host.process({ name: `of-turn-${turn}` });
    const before = await digestOf(host);
    const answered = await killedWhile(app, host.request('post', '/snapshots/ready/restore'), turn);
    const found = await digestOf(host);
    assert.ok(found === ready || (found === before && !answered), `turn ${turn}`);
    if (found === ready) done++;
  }
  assert.ok(done > 0);
});

test('a kill while a host is made of a file leaves all of the new one, or nothing', async (t) => {
  const app = new MortalApp(t);
  await app.start();
  const host = await largeHost(app);
  const file = await host.request('get', '/export');
  const digest = await digestOf(host);
  const all = async (): Promise<string[]> =>
    ((await new Host(app, '').ask('get', '/v1/hosts')) as { items: { id: string }[] }).items.map(({ id }) => id);
  let known = await all();
  for (let turn = 0; turn < TURNS; turn++) {
    const asked = new Host(app, '').ask('post', '/v1/hosts/import', file);
    const answered = await killedWhile(app, asked, turn);
    const now = await all();
    const made = now.filter((id) => !known.includes(id));
    assert.ok(made.length === 1 || (made.length === 0 && !answered), `turn ${turn}`);
    for (const id of made) assert.equal(await digestOf(new Host(app, id)), digest);
    known = now;
  }
  assert.ok(known.length > 1);
});
