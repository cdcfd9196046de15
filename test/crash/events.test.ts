/** A client of the stream that is cut off at the worst moments: it misses nothing and gets nothing twice. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { D1, E1 } from '../support/client.ts';
import { openStream } from '../support/event-stream.ts';
import { MortalApp } from '../support/mortal-app.ts';
import { prepare } from '../support/setups.ts';

/** Follows the log of a host, as an EventSource does: comes back with the id of the last message, as often as it has to. */
class Follower {
  readonly ids: string[] = [];
  #cut = (): void => {};
  #until: { id: string; resolve: () => void } | null = null;
  #stopped = false;
  cuts = 0;

  constructor(t: TestContext, app: MortalApp, path: string) {
    t.after(() => this.stop());
    void this.#run(app, path);
  }

  /** Breaks the connection. */
  cut(): void {
    this.#cut();
  }

  /** Resolves when it has this event. */
  async has(id: string): Promise<void> {
    if (this.ids.includes(id)) return;
    await new Promise<void>((resolve) => {
      this.#until = { id, resolve };
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#cut();
  }

  async #run(app: MortalApp, path: string): Promise<void> {
    while (!this.#stopped) {
      try {
        const stream = await openStream(`${app.url}${path}`, app.key, { lastEventId: this.ids.at(-1) ?? '' });
        this.#cut = () => stream.cut();
        for await (const { id, event } of stream) {
          assert.equal(event, undefined, 'nothing has gone');
          this.ids.push(id!);
          if (id === this.#until?.id) this.#until?.resolve();
        }
      } catch (error) {
        // It was cut off, or there is no service at the moment.
        if (error instanceof assert.AssertionError) throw error;
      }
      this.cuts += 1;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

test('cut off again and again during a kexec, a stream tells every event once, in order', async (t) => {
  const app = new MortalApp(t);
  await app.start();
  const { host } = await prepare(app);
  const follower = new Follower(t, app, `/v1/hosts/${host.id}/events`);
  for (let round = 0; round < 5; round += 1) {
    let running = true;
    const work = (async () => {
      for (let some = 0; some < 10; some += 1) await host.dmaFaults(E1, 0x1000);
      await host.kexec();
      running = false;
    })();
    while (running) {
      follower.cut();
      await new Promise((resolve) => setTimeout(resolve, 7));
    }
    await work;
  }
  const log = (await host.events()).map(({ id }) => id);
  await follower.has(log.at(-1)!);
  assert.deepEqual(follower.ids, log);
  assert.ok(follower.cuts > 10, `${follower.cuts} cuts`);
  assert.ok(log.length > 100);
});

test('killed at work, between freeze and boot, and again: a stream that comes back tells every event once', async (t) => {
  const app = new MortalApp(t);
  await app.start({ HOLDOVER_ALLOW_SERVICE_DEATH: '1' });
  const { host } = await prepare(app);
  const follower = new Follower(t, app, `/v1/hosts/${host.id}/events?severity=info`);
  await host.armFault('service.death');
  await assert.rejects(host.kexec());
  await app.service.exited;
  await app.start({ HOLDOVER_ALLOW_SERVICE_DEATH: '1' });
  assert.equal((await host.view()).kernel, 2);
  for (let round = 0; round < 2; round += 1) {
    const work = (async () => {
      for (;;) await host.dmaFaults(D1, 0x1000);
    })();
    await follower.has(await host.cursor());
    await host.dmaFaults(E1, 0x1000);
    const killed = app.service.stop('SIGKILL');
    await assert.rejects(work);
    await killed;
    await app.start();
  }
  await host.reset(E1);
  const log = (await host.events()).map(({ id }) => id);
  await follower.has(log.at(-1)!);
  assert.deepEqual(follower.ids, log);
});
