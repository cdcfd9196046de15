/** `holdover events --follow` misses nothing and shows nothing twice, whatever happens to the service. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { startService, temporaryDirectory } from '../support/service.ts';
import { startCommand } from './command.ts';

interface Event {
  id: string;
  kind: string;
}

test('following goes on behind the last event when the service is killed and started again, and ends with the host', async (t) => {
  const directory = temporaryDirectory(t);
  const first = await startService(t, directory);
  const { body } = await first.request('POST', '/v1/hosts', { preset: 'vmm-lab' });
  const { id } = body as { id: string };
  const command = startCommand(['events', id, '--follow', '--json'], { url: first.url, key: 'dev-key' });
  t.after(() => command.kill('SIGKILL'));
  command.stderr!.resume();
  const shown: Event[] = [];
  const lines = createInterface(command.stdout!)[Symbol.asyncIterator]();
  const until = async (kind: string): Promise<void> => {
    for (;;) {
      const { value, done } = await lines.next();
      assert.ok(!done, `it ended without ${kind}`);
      const event = JSON.parse(value) as Event;
      shown.push(event);
      if (event.kind === kind) return;
    }
  };
  await until('boot');
  await first.request('POST', `/v1/hosts/${id}/kexec`, { mode: 'plain' });
  await until('kexec');
  await until('boot');
  await first.stop('SIGKILL');
  const again = await startService(t, directory, { env: { HOLDOVER_PORT: new URL(first.url).port } });
  await again.request('POST', `/v1/hosts/${id}/kexec`, { mode: 'plain' });
  await until('kexec');
  await until('boot');
  const answer = await again.request('GET', `/v1/hosts/${id}/events?limit=1000&to=999999999999`);
  const all = (answer.body as { items: Event[] }).items.map((event) => event.id);
  assert.deepEqual(
    shown.map((event) => event.id),
    all.slice(0, shown.length),
  );
  const ended = once(command, 'exit');
  await again.request('DELETE', `/v1/hosts/${id}`);
  assert.deepEqual(await ended, [0, null]);
});
