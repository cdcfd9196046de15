/** Hosts that are made of others, as those are or were: exactly the same, and from then on of nobody else's concern. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../crash/random.ts';
import { useApp } from '../support/app.ts';
import { D1, Host } from '../support/client.ts';
import { ADMIN_KEY } from '../support/keys.ts';
import { OPERATIONS } from '../support/operations.ts';
import { adopt, IOVA, prepare, TEXT, TOKEN } from '../support/setups.ts';

const app = useApp();

interface Made {
  id: string;
  digest: string;
}

async function copy(body: Record<string, unknown>): Promise<Host> {
  return new Host(app, ((await new Host(app, '').ask('post', '/v1/hosts', body)) as Made).id);
}

const digestOf = async (host: Host): Promise<string> => ((await host.view()) as unknown as Made).digest;
const sequenceOf = async (host: Host): Promise<number> => (await host.events()).at(-1)!.sequence;

test('a copy is the same, goes on by itself, and leaves the other one as it was', async () => {
  const { host, vmm } = await prepare(app);
  const digest = await digestOf(host);
  const other = await copy({ from: host.id, name: 'other' });
  assert.equal(await digestOf(other), digest);
  const [first] = await other.events();
  assert.deepEqual([first?.kind, first?.data.of], ['copy', host.id]);
  assert.equal(first?.data.sequence, first?.sequence);

  await other.kexec();
  assert.equal((await other.device(D1)).state, 'L');
  assert.equal((await host.device(D1)).state, 'N');
  assert.equal(await digestOf(host), digest);
  await vmm.kill();
  assert.equal(String(await other.dmaRead(D1, IOVA, TEXT.length)), TEXT);
});

test('a copy of what was: each command of a host has a state behind it', async () => {
  const { host } = await adopt(app);
  const last = await sequenceOf(host);
  const seen = new Set<string>();
  let freezes = 0;
  for (let at = 0; at <= last; at++) {
    const asked = copy({ from: host.id, at });
    const other = await asked.catch((error: Error) => error);
    if (other instanceof Error) {
      assert.match(other.message, /404 .*a freeze: ask for/);
      freezes++;
      continue;
    }
    seen.add(await digestOf(other));
    assert.equal(await sequenceOf(other), at);
  }
  assert.equal(freezes, 1, 'there is no kernel behind it');
  assert.ok(seen.size > last / 2);
  assert.ok(seen.has(await digestOf(host)));
});

test('a copy of a copy goes on from where that one is', async () => {
  const { host, vmm, iommufd } = await adopt(app);
  const first = await copy({ from: host.id });
  const pid = vmm.pid;
  await first.runCalls(pid, [{ call: 'ioctl', fd: iommufd, request: 'IOMMU_HWPT_LU_RESTORE', arg: { token: TOKEN } }]);
  const at = await sequenceOf(host);
  const second = await copy({ from: first.id });
  assert.equal(await digestOf(second), await digestOf(first));
  const past = await copy({ from: first.id, at });
  assert.equal(await digestOf(past), await digestOf(host));
  const { items } = (await first.request('get', '/history?answers=true')) as { items: { sequence: number }[] };
  assert.deepEqual(
    items.map(({ sequence }) => sequence),
    [at + 1],
    'its history begins with it',
  );
  // What came before it began is not its own.
  await assert.rejects(copy({ from: first.id, at: at - 1 }), /404 .*are no longer kept/);
});

test('what cannot be copied is refused by name, and nothing is made', async () => {
  const host = await app.host();
  const count = async (): Promise<number> =>
    ((await new Host(app, '').ask('get', '/v1/hosts?limit=1000')) as { items: unknown[] }).items.length;
  const before = await count();
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ from: 'h-nobody' }, /404 /],
    [{ from: host.id, at: 99 }, /404 .*command 99: the last one is 0/],
    [{ from: host.id, at: -1 }, /400 .*\/at/],
    [{ at: 3 }, /400 .*\/from/],
    [{ from: host.id, preset: 'vmm-lab', memory: '0x40000000' }, /400 .*\/memory.*\/preset/],
  ];
  for (const [body, refusal] of wrong) await assert.rejects(copy(body), refusal);
  assert.equal(await count(), before);
  const { responses } = OPERATIONS.find(({ operationId }) => operationId === 'createHost')!;
  assert.ok('404' in responses && '400' in responses, 'as the document says');
});

test('another tenant’s host cannot be copied, as it is not there', async () => {
  const host = await app.host();
  const made = await app.agent
    .post('/v1/admin/tenants')
    .set('authorization', `Bearer ${ADMIN_KEY}`)
    .send({ name: 'copier' });
  const { key } = made.body as { key: string };
  const answer = await app.agent.post('/v1/hosts').set('authorization', `Bearer ${key}`).send({ from: host.id });
  assert.equal(answer.status, 404);
});

test('100 copies at random points are what the host was there', async () => {
  const random = new Random('copies');
  const host = await app.host();
  const digests = [await digestOf(host)];
  const { pid } = await host.process();
  digests.push(await digestOf(host));
  while (digests.length <= 40) {
    const [call] = await host.runCalls(pid, [
      random.pick([
        { call: 'memfd_create', name: 'ram', flags: 2, size: 4096 * random.between(1, 64) },
        { call: 'mmap', addr: `0x${(0x7f0000000000 + 0x100000 * digests.length).toString(16)}`, length: 8192 },
        { call: 'open', path: '/dev/iommu' },
        { call: 'close', fd: random.between(3, 9) },
      ])!,
    ]);
    assert.ok(call);
    digests.push(await digestOf(host));
  }
  for (let count = 0; count < 100; count++) {
    const at = random.below(digests.length);
    const other = await copy({ from: host.id, at });
    assert.equal(await digestOf(other), digests[at], `at ${at}`);
    await other.request('delete', '');
  }
});
