/** What monitoring reads: of all threads, whichever of them answers. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type TestApp, useApp } from '../support/app.ts';
import { setUpVmm } from '../support/setups.ts';

type Samples = Map<string, number>;

/** Name and labels of each sample. What a thread hears of another one it has heard a moment later. */
async function read({ agent }: TestApp): Promise<{ samples: Samples; types: Map<string, string> }> {
  const { status, headers, text } = await agent.get('/metrics');
  assert.equal(status, 200, text);
  assert.match(headers['content-type']!, /^text\/plain; version=0.0.4/);
  const samples: Samples = new Map();
  const types = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (name !== undefined) types.set(name, type!);
    const [, sample, value] = /^([a-z_]+(?:\{.*\})?) (\S+)$/.exec(line) ?? [];
    if (sample !== undefined) samples.set(sample, Number(value));
  }
  return { samples, types };
}

describe('in this thread', () => {
  const app = useApp();

  test('requests are counted by operation and status, with how long they took', async () => {
    const name = (status: string): string => `holdover_requests_total{operation="getHost",status="${status}"}`;
    const before = await read(app);
    const host = await app.host();
    for (let count = 0; count < 20; count++) await host.view();
    const wrong = app.agent.get('/v1/hosts/h-abcdefghijklmnop').set('authorization', `Bearer ${app.key}`);
    assert.equal((await wrong).status, 404);
    await app.agent.get('/nowhere');
    const { samples, types } = await read(app);
    const more = (sample: string): number => (samples.get(sample) ?? 0) - (before.samples.get(sample) ?? 0);
    assert.deepEqual([more(name('2xx')), more(name('4xx'))], [20, 1]);
    assert.equal(more('holdover_requests_total{operation="none",status="4xx"}'), 1);
    const duration = 'holdover_request_duration_seconds';
    assert.equal(more(`${duration}_count{operation="getHost"}`), 21);
    assert.equal(more(`${duration}_bucket{operation="getHost",le="+Inf"}`), 21);
    assert.ok(samples.get(`${duration}_sum{operation="getHost"}`)! > 0);
    assert.deepEqual([types.get(duration), types.get('holdover_requests_total')], ['histogram', 'counter']);
    assert.ok(samples.get('process_resident_memory_bytes')! > 2 ** 24);
    assert.equal([...samples.keys()].filter((sample) => sample.startsWith('holdover_lane_heap')).length, 1);
  });
});

function countsHazards(lanes: number | undefined): void {
  const app = useApp(lanes);

  test('hazards are counted by name, and nothing says whose', async () => {
    const sample = 'holdover_hazards_total{hazard="device-left-behind"}';
    const before = (await read(app)).samples.get(sample)!;
    const { host } = await setUpVmm(app, { name: 'secret-name' });
    await host.kexec();
    assert.equal((await read(app)).samples.get(sample), before + 1);
    assert.equal(
      [...(await read(app)).samples.keys()].filter((key) => key.startsWith('holdover_lane_heap')).length,
      lanes ?? 1,
    );
    const { text } = await app.agent.get('/metrics');
    assert.doesNotMatch(text, /secret-name|h-[a-z2-7]{16}|0000:01:00/);
  });
}

for (const lanes of [undefined, 2])
  describe(lanes === undefined ? 'hazards' : `hazards, with ${lanes} lanes that serve`, () => countsHazards(lanes));
