/** What a handover says of files is looked at before it is used: broken data stops what needs it, with a sentence. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer, Command } from '../../../src/host/command.ts';
import { Host } from '../../../src/host/host.ts';
import { buildHostSpec } from '../../../src/host/host-spec.ts';
import type { HandoverDocument } from '../../../src/kernel/kho/handover.ts';
import { isHex64, type Json } from '../../../src/kernel/kho/json.ts';
import type { CallInput, CallResult } from '../../../src/kernel/uapi/calls.ts';

const CDEV = '0000:01:00.0';

function run(host: Host, command: Command): Answer {
  return host.execute(command).answer;
}

function process(host: Host): (call: CallInput) => CallResult {
  const answer = run(host, { op: 'process.create' });
  assert.equal(answer.kind, 'ok');
  const { pid } = (answer as { value: { pid: number } }).value;
  return (call) => {
    const { value } = run(host, { op: 'calls', pid, calls: [call] }) as { value: { results: CallResult[] } };
    return value.results[0]!;
  };
}

/** A host that is frozen with a memfd (token 1), an iommufd (2) and a cdev (3) in a session, and its handover. */
function frozen(): { host: Host; document: HandoverDocument } {
  const built = buildHostSpec({ preset: 'vmm-lab' });
  assert.ok('spec' in built);
  const host = new Host(built.spec);
  const call = process(host);
  const open = (path: string) => call({ call: 'open', path }).ret as number;
  const ioctl = (fd: number, request: string, arg: Record<string, unknown>) => {
    const result = call({ call: 'ioctl', fd, request, arg });
    assert.equal(result.errno, undefined, JSON.stringify([request, result]));
    return result.arg as Record<string, number>;
  };
  const size = '0x200000';
  const memfd = call({ call: 'memfd_create', name: 'ram', flags: 2, size }).ret as number;
  call({ call: 'add_seals', fd: memfd, seals: 7 });
  const iommufd = open('/dev/iommu');
  const cdev = open('/dev/vfio/devices/vfio0');
  const { out_devid: device } = ioctl(cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd });
  const { out_ioas_id: ioas } = ioctl(iommufd, 'IOMMU_IOAS_ALLOC', {});
  const mapping = { flags: 7, start: 0, length: size, iova: 0, ioas_id: ioas, fd: memfd };
  ioctl(iommufd, 'IOMMU_IOAS_MAP_FILE', mapping);
  const { out_hwpt_id: hwpt } = ioctl(iommufd, 'IOMMU_HWPT_ALLOC', { dev_id: device, pt_id: ioas });
  ioctl(cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: hwpt });
  ioctl(iommufd, 'IOMMU_HWPT_LU_SET_PRESERVE', { hwpt_id: hwpt, token: 7 });
  const { fd: session } = ioctl(open('/dev/liveupdate'), 'LIVEUPDATE_IOCTL_CREATE_SESSION', { name: 'vm1' });
  for (const [index, fd] of [memfd, iommufd, cdev].entries())
    ioctl(session!, 'LIVEUPDATE_SESSION_PRESERVE_FD', { fd, token: index + 1 });
  const { answer, records } = host.execute({ op: 'kexec.freeze', mode: 'live-update', image: 'loaded' });
  assert.equal(answer.kind, 'ok');
  const record = records.find(({ kind }) => kind === 'handover');
  assert.ok(record?.kind === 'handover' && record.text !== null);
  return { host, document: JSON.parse(record.text) as HandoverDocument };
}

/** Boots with other data of the file with a token, and tells what the first open of /dev/liveupdate answers. */
function bootWith(token: number, change: (data: Record<string, Json>) => Json): { host: Host; opened?: CallResult } {
  const { host, document } = frozen();
  const file = document.luo.sessions[0]!.files[token - 1]!;
  file.data = change(file.data as Record<string, Json>);
  run(host, { op: 'kexec.boot', handover: JSON.stringify(document) });
  return host.kernel ? { host, opened: process(host)({ call: 'open', path: '/dev/liveupdate' }) } : { host };
}

test('data as it was handed over is taken', () => {
  for (const token of [1, 2, 3]) {
    const { opened, host } = bootWith(token, (data) => ({ ...data }));
    assert.equal(opened?.errno, undefined);
    assert.equal(host.kernel?.luo?.incoming[0]?.files.length, 3);
  }
});

const BROKEN: Record<string, [token: number, change: (data: Record<string, Json>) => Json]> = {
  'a memfd without data': [1, () => null],
  'a memfd without a size': [1, ({ size: _, ...rest }) => rest],
  'a memfd whose size has more than 64 bits': [1, (data) => ({ ...data, size: '0x10000000000000000' })],
  'a memfd with a frame that is no number': [1, (data) => ({ ...data, pages: [[0, '5', 1]] })],
  'a memfd with a span of two numbers': [1, (data) => ({ ...data, pages: [[0, 5]] })],
  'a cdev without an address': [3, () => ({ resetWorks: true })],
  'a cdev that is a list': [3, () => []],
};
for (const [what, [token, change]] of Object.entries(BROKEN))
  test(`${what} fails the deserialization for good`, () => {
    const { host, opened } = bootWith(token, change);
    assert.equal(opened?.errno, 'EIO');
    assert.equal(process(host)({ call: 'open', path: '/dev/liveupdate' }).errno, 'EIO');
    // Its device goes on all the same.
    const fn = host.machine.functions.get(CDEV)!;
    assert.equal(host.kernel?.restored.stateOf(fn), 'L');
  });

test('an iommufd whose HWPTs cannot be read stops the boot', () => {
  const broken: Json[] = [null, {}, { hwpts: [{ token: 7, domain: 1 }] }, { hwpts: [{ token: '0x7', domain: -1 }] }];
  for (const data of broken) {
    const { host } = bootWith(2, () => data);
    assert.equal(host.kernel, null);
    assert.equal(host.panic, 'IOMMU: session "vm1": what the iommufd with token 0x2 left cannot be read');
  }
});

test('numbers of 64 bits', () => {
  for (const good of ['0x0', '0xffffffffffffffff', '0x1f']) assert.ok(isHex64(good), good);
  for (const bad of ['', '0x', '1f', '0x1F', '0x1g', '0x00000000000000001', 5, null])
    assert.ok(!isHex64(bad), `${bad}`);
});
