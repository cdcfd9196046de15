/** A host that is taken apart and put together again after every command is still the same host. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Command } from '../../../src/host/command.ts';
import { Host } from '../../../src/host/host.ts';
import { buildHostSpec } from '../../../src/host/host-spec.ts';
import { StateCodec } from '../../../src/host/state/codec.ts';
import { CODEC } from '../../../src/host/state/state.ts';
import type { CallInput, CallResult } from '../../../src/kernel/uapi/calls.ts';
import { digestOf } from '../../../src/lanes/state-digest.ts';
import { hostOf, snapshotOf } from '../../support/snapshots.ts';
import { finished } from '../../support/steps.ts';

/** Executes commands, each on a host made of a snapshot. */
class Phoenix {
  host: Host;
  pid = 0;

  constructor(body: Record<string, unknown> = { preset: 'vmm-lab' }) {
    const built = buildHostSpec(body);
    assert.ok('spec' in built);
    this.host = new Host(built.spec);
  }

  execute(command: Command): unknown {
    const before = digestOf(this.host);
    this.host = hostOf(snapshotOf(this.host));
    assert.equal(digestOf(this.host), before);
    const { answer, records } = this.host.execute(command);
    assert.equal(answer.kind, 'ok', JSON.stringify(answer));
    for (const record of records)
      if (record.kind === 'handover') return this.execute({ op: 'kexec.boot', handover: record.text });
    return answer.kind === 'ok' ? answer.value : undefined;
  }

  process(): void {
    this.pid = (this.execute({ op: 'process.create' }) as { pid: number }).pid;
  }

  call(call: CallInput): CallResult {
    const { results } = this.execute({ op: 'calls', pid: this.pid, calls: [call] }) as { results: CallResult[] };
    assert.equal(results[0]!.errno, undefined, JSON.stringify([call, results[0]]));
    return results[0]!;
  }

  open(path: string): number {
    return this.call({ call: 'open', path }).ret as number;
  }

  ioctl(fd: number, request: string, arg: Record<string, unknown> = {}): Record<string, number> {
    return this.call({ call: 'ioctl', fd, request, arg }).arg as Record<string, number>;
  }

  read(): unknown {
    const accesses = [{ op: 'read' as const, iova: '0x100000000', length: 5 }];
    return this.execute({ op: 'device.dma', bdf: '0000:01:00.0', accesses });
  }
}

test('a whole live update, with a snapshot before each command', () => {
  const hello = { results: [{ ok: true, data: 'aGVsbG8=' }] };
  const size = '0x4000000';
  const p = new Phoenix();
  p.process();
  const memfd = p.call({ call: 'memfd_create', name: 'ram', flags: 2, size }).ret as number;
  p.call({ call: 'add_seals', fd: memfd, seals: 7 });
  p.call({ call: 'pwrite', fd: memfd, offset: 0, data: 'aGVsbG8=' });
  const iommufd = p.open('/dev/iommu');
  const cdev = p.open('/dev/vfio/devices/vfio0');
  const { out_devid: device } = p.ioctl(cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd });
  const { out_ioas_id: ioas } = p.ioctl(iommufd, 'IOMMU_IOAS_ALLOC');
  const mapping = { flags: 7, start: 0, length: size, iova: '0x100000000' };
  p.ioctl(iommufd, 'IOMMU_IOAS_MAP_FILE', { ...mapping, ioas_id: ioas, fd: memfd });
  const { out_hwpt_id: hwpt } = p.ioctl(iommufd, 'IOMMU_HWPT_ALLOC', { dev_id: device, pt_id: ioas });
  p.ioctl(cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: hwpt });
  assert.deepEqual(p.read(), hello);
  const { fd: session } = p.ioctl(p.open('/dev/liveupdate'), 'LIVEUPDATE_IOCTL_CREATE_SESSION', { name: 'vm1' });
  p.ioctl(session!, 'LIVEUPDATE_SESSION_PRESERVE_FD', { fd: memfd, token: 1 });
  p.ioctl(iommufd, 'IOMMU_HWPT_LU_SET_PRESERVE', { hwpt_id: hwpt, token: 7 });
  p.ioctl(session!, 'LIVEUPDATE_SESSION_PRESERVE_FD', { fd: iommufd, token: 2 });
  p.ioctl(session!, 'LIVEUPDATE_SESSION_PRESERVE_FD', { fd: cdev, token: 3 });
  p.execute({ op: 'kexec.freeze', mode: 'live-update', image: 'loaded' });
  assert.deepEqual(p.read(), hello);

  p.process();
  p.execute({ op: 'driver.bind', bdf: '0000:01:00.0', driver: 'vfio-pci' });
  const { fd: incoming } = p.ioctl(p.open('/dev/liveupdate'), 'LIVEUPDATE_IOCTL_RETRIEVE_SESSION', { name: 'vm1' });
  const [ram, next, restored] = [1, 2, 3].map(
    (token) => p.ioctl(incoming!, 'LIVEUPDATE_SESSION_RETRIEVE_FD', { token }).fd!,
  );
  const { out_devid: bound } = p.ioctl(restored!, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd: next });
  const { hwpt_id: old } = p.ioctl(next!, 'IOMMU_HWPT_LU_RESTORE', { token: 7 });
  const { out_ioas_id: ioas2 } = p.ioctl(next!, 'IOMMU_IOAS_ALLOC');
  p.ioctl(next!, 'IOMMU_IOAS_MAP_FILE', { ...mapping, ioas_id: ioas2, fd: ram });
  const { out_hwpt_id: hwpt2 } = p.ioctl(next!, 'IOMMU_HWPT_ALLOC', { dev_id: bound, pt_id: ioas2 });
  p.ioctl(restored!, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: hwpt2 });
  p.ioctl(next!, 'IOMMU_DESTROY', { id: old });
  p.ioctl(incoming!, 'LIVEUPDATE_SESSION_FINISH');
  assert.deepEqual(p.read(), hello);
  p.execute({ op: 'process.kill', pid: p.pid });
  const free = p.host.machine.memory.freeFrames;
  assert.equal(free, new Phoenix().host.machine.memory.freeFrames, 'nothing leaks');
});

test('vIOMMUs, queues, PASIDs and accesses, with a snapshot before each command', () => {
  const bdf = '0000:01:00.0';
  const words = (...values: number[]) => Buffer.from(Uint32Array.from(values).buffer).toString('base64');
  const p = new Phoenix({
    iommus: [{ id: 'mock0', kind: 'generic', nesting: true, maxPasidLog2: 20 }],
    devices: [{ bdf, iommu: 'mock0', driver: 'vfio-pci', pasid: true }],
  });
  p.process();
  const [address, size] = ['0x100000000000', '0x200000'];
  p.call({ call: 'mmap', addr: address, length: size, huge: '2M' });
  const iommufd = p.open('/dev/iommu');
  const cdev = p.open('/dev/vfio/devices/vfio0');
  const { out_devid: device } = p.ioctl(cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd });
  const { out_ioas_id: ioas } = p.ioctl(iommufd, 'IOMMU_IOAS_ALLOC');
  p.ioctl(iommufd, 'IOMMU_IOAS_MAP', { flags: 7, ioas_id: ioas, user_va: address, length: size, iova: 0x1000000 });
  const { out_hwpt_id: parent } = p.ioctl(iommufd, 'IOMMU_HWPT_ALLOC', { flags: 9, dev_id: device, pt_id: ioas });
  const viommuData = { data_len: 24, data: words(7, 0, 0, 0, 0, 0) };
  const { out_viommu_id: viommu } = p.ioctl(iommufd, 'IOMMU_VIOMMU_ALLOC', {
    type: 0xdeadbeef,
    dev_id: device,
    hwpt_id: parent,
    ...viommuData,
  });
  p.ioctl(iommufd, 'IOMMU_VDEVICE_ALLOC', { viommu_id: viommu, dev_id: device, virt_id: 9 });
  const { out_fault_id: fault_id, out_fault_fd: faults } = p.ioctl(iommufd, 'IOMMU_FAULT_QUEUE_ALLOC');
  const { out_veventq_fd: events } = p.ioctl(iommufd, 'IOMMU_VEVENTQ_ALLOC', {
    viommu_id: viommu,
    type: 0xbeefbeef,
    veventq_depth: 2,
  });
  const queue = { viommu_id: viommu, type: 0xdeadbeef, index: 0, nesting_parent_iova: 0x1000000, length: 0x2000 };
  p.ioctl(iommufd, 'IOMMU_HW_QUEUE_ALLOC', queue);
  const { out_hwpt_id: nested } = p.ioctl(iommufd, 'IOMMU_HWPT_ALLOC', {
    flags: 12,
    dev_id: device,
    pt_id: viommu,
    fault_id,
    data_type: 0xdead,
    data_len: 4,
    data: words(0xbeef),
  });
  p.ioctl(cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: nested });
  p.ioctl(cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { size: 16, flags: 1, pt_id: nested, pasid: 5 });
  p.call({ call: 'pasid_check', fd: iommufd, device, pasid: 5, hwpt: nested });
  p.call({ call: 'page_fault', fd: iommufd, device, pasid: 5, grpid: 1, perm: 1, addr: '0x1000' });
  assert.equal(p.call({ call: 'read', fd: faults, length: 40 }).ret, 40);
  assert.equal(p.call({ call: 'write', fd: faults, length: 8, responses: [{ cookie: 1, code: 0 }] }).ret, 8);
  p.call({ call: 'trigger_event', fd: iommufd, device });
  assert.deepEqual(p.call({ call: 'read', fd: events, length: 12 }).events, [{ flags: 0, sequence: 0, virt_id: 9 }]);
  const access = p.call({ call: 'access_create', fd: iommufd, ioas, pin: true }).ret as number;
  p.call({ call: 'access_pin', fd: iommufd, access, iova: '0x1000000', length: 4096, write: true });
  p.execute({ op: 'process.kill', pid: p.pid });
  assert.equal(p.host.kernel!.processes.size, 0);
});

test('BARs, what they hold and who maps them, with a snapshot before each command', () => {
  const bdf = '0000:01:00.0';
  const p = new Phoenix();
  p.process();
  const iommufd = p.open('/dev/iommu');
  const cdev = p.open('/dev/vfio/devices/vfio0');
  p.ioctl(cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd });
  const addr = '0x600000000000';
  p.call({ call: 'mmap', addr, fd: cdev, offset: 0, length: '0x4000', shared: true });
  p.call({ call: 'poke', addr: '0x600000003000', data: 'AQID' });
  p.call({ call: 'close', fd: cdev });
  p.execute({ op: 'device.bar', bdf, bar: 0, offset: '0x5001', data: 'CAk=' });
  assert.equal(p.call({ call: 'peek', addr: '0x600000003000', length: 2 }).data, 'AQI=');
  assert.deepEqual(p.host.query({ view: 'bar', bdf, bar: 0, offset: '0x5000', length: 3 }), {
    kind: 'ok',
    value: { data: 'AAgJ', count: 3 },
  });
  p.call({ call: 'munmap', addr, length: '0x4000' });
  assert.equal(p.host.machine.functions.get(bdf)!.barPages, null);
});

function hostOfPreset(): Host {
  const built = buildHostSpec({ preset: 'vmm-lab' });
  assert.ok('spec' in built);
  return new Host(built.spec);
}

test('an object with other fields than its class has is a fault that names both', () => {
  const more = hostOfPreset();
  Object.assign(more.machine.memory, { _shortcut: 1 });
  assert.throws(
    () => snapshotOf(more),
    /class PhysicalMemory has the field _shortcut, which is not in .*npm run shapes/,
  );
  const less = hostOfPreset();
  Reflect.deleteProperty(less.kernel!, 'kexecCount');
  assert.throws(() => snapshotOf(less), /class Kernel is without kexecCount, which is in/);
});

class Part {
  static readonly caches: Record<string, () => unknown> = { _last: () => null };
  readonly name = 'part';
  _last: unknown = { found: 1 };
}

test('caches are not kept, and begin anew', () => {
  const shapes = {
    classes: { Part: { state: { name: "'part'" }, caches: { _last: 'unknown' } } },
    records: {},
    constants: {},
  };
  const codec = new StateCodec(shapes, { Part }, {});
  const pieces = finished(codec.encode(new Part()));
  assert.deepEqual(pieces, [
    { kind: 'objects', of: 'Part', keys: ['name'], nodes: [0], columns: [{ kind: 'plain', values: ['part'] }] },
  ]);
  const part = finished(codec.decode(pieces));
  assert.ok(part instanceof Part);
  assert.equal(part._last, null);
});

test('what was stored with other fields is not read, and says which', () => {
  const stored = finished(CODEC.encode(hostOfPreset()));
  const faults = stored.find((piece) => piece.kind === 'objects' && piece.of === 'Faults');
  assert.ok(faults?.kind === 'objects');
  faults.keys = faults.keys.map((key) => (key === '_armed' ? 'loaded' : key));
  assert.throws(
    () => finished(CODEC.decode(stored)),
    /class Faults has fields in it that this version has not: loaded/,
  );
  faults.of = 'Failures';
  assert.throws(() => finished(CODEC.decode(stored)), /objects of class Failures, which this version has not/);
});
