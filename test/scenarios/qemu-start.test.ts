/**
 * What a stock QEMU 7.2 calls from its start until its guest's firmware has run, with one device by the group path: all of it is
 * made here, and all of it succeeds.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1 } from '../support/client.ts';

const app = useApp();

const FIXTURE = new URL('../fixtures/qemu-7.2-group-start.calls.txt', import.meta.url);

type Call = Record<string, unknown>;

const DEVICE = 5;
const CONFIG = 7 * 2 ** 40;
const CONFIG_ACCESSES = /^# configuration space of the device: (\d+) read\(s\), (\d+) write\(s\)$/;

/** Registers that QEMU looks at and stores to: offsets and bytes, in turn. */
const READS = [
  [0x00, 256],
  [0x04, 2],
  [0x34, 1],
  [0x3c, 4],
] as const;
const WRITES = [
  [0x04, '0600'],
  [0x10, 'ffffffff'],
  [0x10, '000000fe'],
  [0x3c, '0b'],
  [0x0c, '08'],
  [0x04, '0601'],
] as const;

/** The calls of the fixture; where it counts accesses to the configuration space, as many of these. */
function callsOf(text: string): Call[] {
  return text.split('\n').flatMap((line): Call[] => {
    if (line.startsWith('{')) return [JSON.parse(line) as Call];
    const [, reads, writes] = CONFIG_ACCESSES.exec(line) ?? [];
    const made: Call[] = [];
    for (let at = 0; at < Number(reads ?? 0); at++) {
      const [offset, length] = READS[at % READS.length]!;
      made.push({ call: 'pread', fd: DEVICE, offset: CONFIG + offset, length });
    }
    for (let at = 0; at < Number(writes ?? 0); at++) {
      const [offset, bytes] = WRITES[at % WRITES.length]!;
      made.push({
        call: 'pwrite',
        fd: DEVICE,
        offset: CONFIG + offset,
        data: Buffer.from(bytes, 'hex').toString('base64'),
      });
    }
    return made;
  });
}

test('the start of a stock QEMU runs without a stub', async () => {
  const host = await app.host();
  const vmm = await host.process({ name: 'qemu' });
  const calls = callsOf(readFileSync(FIXTURE, 'utf8'));
  assert.ok(calls.filter(({ fd }) => fd === DEVICE).length > 20, 'the device is asked');
  const results = await host.runCalls(vmm.pid, calls);
  for (const [index, result] of results.entries())
    assert.equal(result.errno, undefined, `${JSON.stringify(calls[index])}: ${JSON.stringify(result)}`);
  // What it left behind: its memory is where its guest's device finds it, and the process owns all of it.
  const { descriptors } = await vmm.view();
  assert.deepEqual(
    descriptors.map(({ fd, link }) => [fd, link]),
    [
      [3, '/dev/vfio/0'],
      [4, '/dev/vfio/vfio'],
      [5, 'anon_inode:[vfio-device]'],
    ],
  );
  await host.dmaWrite(D1, 0x0, 'ram');
  await host.dmaWrite(D1, 0xe8000, 'ram');
  // The firmware is mapped read-only by then.
  assert.equal((await host.dmaRead(D1, 0xf0000, 4)).length, 4);
});
