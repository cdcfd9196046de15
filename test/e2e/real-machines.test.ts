/** Hosts made of what real machines print, and the memory layout of a real VMM taken through a live update. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { GroupView } from '../../src/host/views.ts';
import { useApp } from '../support/app.ts';
import { D1, type Host } from '../support/client.ts';

const app = useApp();
const fixture = (name: string): string => readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8');

async function groups(host: Host): Promise<Map<number, string[]>> {
  const { items } = (await host.request('get', '/groups')) as { items: GroupView[] };
  return new Map(items.map(({ group, devices }) => [group, devices]));
}

test('a Ryzen machine is made from the text of its /sys/kernel/iommu_groups', async () => {
  const text = fixture('ryzen-2400g.iommu_groups.txt');
  const host = await app.host({ topology: { format: 'sysfs-iommu-groups', text } });
  const found = await groups(host);
  const expected = new Map<number, string[]>();
  for (const [, group, bdf] of text.matchAll(/iommu_groups\/(\d+)\/devices\/(\S+)/g))
    expected.set(Number(group), [...(expected.get(Number(group)) ?? []), bdf!].sort());
  assert.equal(found.size, 13);
  assert.deepEqual(found, new Map([...expected].sort(([a], [b]) => a - b)));
  assert.equal(found.get(8)?.length, 11, 'the chipset with all that hangs on it is one group');
});

test('an Alder Lake machine is made from the text of its lspci by IOMMU group', async () => {
  const host = await app.host({
    topology: { format: 'lspci-by-group', text: fixture('alder-lake.lspci-by-group.txt') },
  });
  const found = await groups(host);
  assert.equal(found.size, 24);
  assert.deepEqual(found.get(16), ['0000:00:1f.0', '0000:00:1f.3', '0000:00:1f.4', '0000:00:1f.5']);
  const nvme = await host.device('0000:05:00.0');
  assert.deepEqual([nvme.group, nvme.class, nvme.vendor, nvme.device], [22, '0108', 'c0a9', '540a']);
  await host.bindDriver('0000:05:00.0', 'nvme');
  await assert.rejects(host.bindDriver('0000:08:00.0', 'nvme'), { errno: 'ENODEV' });
});

test('the drives behind a VMD are in its group, and have its context entry', async () => {
  const link = (bdf: string) => `/sys/kernel/iommu_groups/5/devices/${bdf}`;
  const vmd = '0000:00:0e.0';
  const drive = '10000:e1:00.0';
  const host = await app.host({ topology: { text: [vmd, '10000:e0:1c.0', drive].map(link).join('\n') } });
  assert.deepEqual([...(await groups(host))], [[5, [vmd, '10000:e0:1c.0', drive]]]);
  const { iommu, realDmaDevice } = await host.device(drive);
  assert.deepEqual([iommu, realDmaDevice], ['dmar0', vmd]);
  // While the VMD's own driver runs, nobody else owns the DMA of what is behind it.
  await host.bindDriver(vmd, 'pci-stub');
  await host.bindDriver(drive, 'vfio-pci');
  const vmm = await host.process();
  const memfd = await vmm.sealedMemfd(0x1000);
  const iommufd = await vmm.open('/dev/iommu');
  const cdev = await vmm.openCdev(drive);
  await vmm.bind(cdev, iommufd);
  const ioas = await vmm.allocIoas(iommufd);
  const map = { flags: 7, ioas_id: ioas, fd: memfd, start: 0, length: 0x1000, iova: 0 };
  await vmm.ioctl(iommufd, 'IOMMU_IOAS_MAP_FILE', map);
  await vmm.attach(cdev, ioas);
  await host.dmaWrite(drive, 0, 'by the drive');
  assert.equal(await vmm.read(memfd, 0, 12), 'by the drive');
  // One entry for all: a neighbour that goes leaves it, as Linux does with subdevices of a real DMA device.
  assert.equal((await host.dmaRead('10000:e0:1c.0', 0, 6)).toString(), 'by the');
  await host.request('delete', '/devices/10000:e0:1c.0');
  assert.equal((await host.dmaRead(drive, 0, 6)).toString(), 'by the');
});

test('a pasted machine with its drivers and virtual functions, and what was made of the text', async () => {
  const text = `IOMMU Group 1:
\t00:00.0 Host bridge [0600]: Advanced Micro Devices, Inc. [AMD] Starship Root Complex [1022:1480]
IOMMU Group 40:
[RESET]\t3b:00.0 Ethernet controller [0200]: Intel Corporation Ethernet Controller X710 [8086:1572] (rev 02)
\tKernel driver in use: i40e
\tKernel modules: i40e
IOMMU Group 41:
[RESET]\t3b:02.0 Ethernet controller [0200]: Intel Corporation Ethernet Virtual Function 700 Series [8086:154c] (rev 02)
\tKernel driver in use: vfio-pci
`;
  const body = { topology: { text }, devices: [{ bdf: '3b:02.0', irqs: 3 }] };
  const made = await app.agent.post('/v1/hosts').set('authorization', `Bearer ${app.key}`).send(body).expect(201);
  const { devices, notes } = made.body as {
    devices: Record<string, unknown>[];
    notes: { line: number; text: string; what: string }[];
  };
  assert.deepEqual(
    devices.map(({ bdf, group, iommu, driver, reset, sriov, physicalFunction }) => [
      bdf,
      group,
      iommu,
      driver,
      reset,
      sriov,
      physicalFunction,
    ]),
    [
      ['0000:00:00.0', 1, 'ivhd0', null, false, 'none', null],
      ['0000:3b:00.0', 40, 'ivhd0', 'i40e', true, 'pf', null],
      ['0000:3b:02.0', 41, 'ivhd0', 'vfio-pci', true, 'vf', '0000:3b:00.0'],
    ],
  );
  assert.deepEqual(
    notes.map(({ line, what }) => [line, what]),
    [
      [6, 'modules that could drive a function: passed over, as none is bound by that'],
      [4, 'functions with this mark can be reset, all others cannot'],
      [8, 'virtual functions by their names, taken for those of 0000:3b:00.0'],
      [2, 'the IOMMU is taken for amd-vi (ivhd0): 0000:00:00.0 is of such a machine; `iommus` says otherwise'],
    ],
  );
  assert.equal(notes[0]!.text, 'Kernel modules: i40e');
  const listed = await app.agent.post('/v1/hosts').set('authorization', `Bearer ${app.key}`).send({ preset: 'mock' });
  assert.deepEqual((listed.body as { notes: unknown[] }).notes, []);
});

interface Area {
  iova: number;
  start: number;
  length: number;
}

/** The guest memory that QEMU had mapped from its memfd when it ended. */
function recordedLayout(): { size: number; areas: Area[] } {
  const calls = fixture('vmm-q35-4g-memfd.calls.jsonl')
    .split('\n')
    .filter(Boolean)
    .map(
      (line) =>
        JSON.parse(line) as {
          call: string;
          request?: string;
          size?: string;
          arg: Record<string, string>;
          expect: { ret: number };
        },
    );
  const areas = new Map<number, Area>();
  let size = 0;
  for (const { call, request, arg, size: bytes, expect } of calls) {
    if (call === 'memfd_create') size = Number(bytes);
    if (expect?.ret === -1 || call !== 'ioctl') continue;
    const iova = Number(arg.iova);
    if (request === 'IOMMU_IOAS_MAP_FILE')
      areas.set(iova, { iova, start: Number(arg.start), length: Number(arg.length) });
    if (request === 'IOMMU_IOAS_UNMAP')
      for (const at of areas.keys()) if (at >= iova && at < iova + Number(arg.length)) areas.delete(at);
  }
  return { size, areas: [...areas.values()] };
}

test('a VMM with the memory layout of a real QEMU goes through a live update while its device does DMA', async () => {
  const { size, areas } = recordedLayout();
  assert.equal(size, 4 * 1024 ** 3);
  assert.ok(areas.length >= 2, 'guest memory below and above 4 GiB');
  const host = await app.host();
  const vmm = await host.process({ name: 'qemu' });
  const memfd = await vmm.sealedMemfd(size);
  const words = areas.map(({ start, length }, index) => ({ at: start + length - 64, text: `guest memory ${index}` }));
  for (const { at, text } of words) await vmm.write(memfd, at, text);
  const iommufd = await vmm.open('/dev/iommu');
  const cdev = await vmm.openCdev(D1);
  const device = await vmm.bind(cdev, iommufd);
  const ioas = await vmm.allocIoas(iommufd);
  for (const { iova, start, length } of areas)
    await vmm.ioctl(iommufd, 'IOMMU_IOAS_MAP_FILE', { flags: 7, ioas_id: ioas, fd: memfd, start, length, iova });
  const hwpt = await vmm.allocHwpt(iommufd, device, ioas);
  await vmm.attach(cdev, hwpt);

  const sameBytes = async (): Promise<void> => {
    for (const [index, { iova, length }] of areas.entries()) {
      const { text } = words[index]!;
      assert.equal((await host.dmaRead(D1, iova + length - 64, text.length)).toString(), text);
    }
  };
  await sameBytes();
  await host.dmaFaults(D1, 0xfeb00000);

  const lu = await vmm.openLiveupdate();
  const session = await vmm.createSession(lu, 'qemu');
  await vmm.preserve(session, memfd, 1);
  await vmm.mark(iommufd, hwpt, 7);
  await vmm.preserve(session, iommufd, 2);
  await vmm.preserve(session, cdev, 3);

  // The device never pauses: whenever one of these falls, in the old kernel, between the two, or in the new one.
  let updating = true;
  const update = host.kexec().finally(() => {
    updating = false;
  });
  let during = 0;
  while (updating) {
    await sameBytes();
    during++;
  }
  assert.equal((await update).kernel, 2);
  assert.ok(during > 0, 'there was DMA during the update');
  assert.equal((await host.device(D1)).state, 'L');
  await sameBytes();
  await host.dmaWrite(D1, areas[0]!.iova, 'written in luo mode');
  await host.dmaFaults(D1, 0xfeb00000);

  await host.bindDriver(D1, 'vfio-pci');
  const next = await host.process({ name: 'qemu' });
  const incoming = await next.retrieveSession(await next.openLiveupdate(), 'qemu');
  const ram = await next.retrieve(incoming, 1);
  assert.equal(await next.read(ram, areas[0]!.start, 19), 'written in luo mode');
  const restoredIommufd = await next.retrieve(incoming, 2);
  const restoredCdev = await next.retrieve(incoming, 3);
  await next.bind(restoredCdev, restoredIommufd);
  await sameBytes();
});

test('what a text says is in use is bound, whatever class the function has; `devices` are held to the drivers’ tables', async () => {
  const text = `IOMMU Group 4 07:00.0 Bridge [0680]: NVIDIA Corporation GH100 [H100 NVSwitch] [10de:22a3]
\tKernel driver in use: nvidia
IOMMU Group 5 00:1f.3 Multimedia controller [0480]: Intel Corporation Smart Sound Technology [8086:a0c8]
\tKernel driver in use: snd_hda_intel`;
  const [nvswitch, audio] = ['0000:07:00.0', '0000:00:1f.3'];
  const host = await app.host({ topology: { text } });
  assert.deepEqual(
    [(await host.device(nvswitch)).driver, (await host.device(audio)).driver],
    ['nvidia', 'snd_hda_intel'],
  );
  await host.unbindDriver(audio);
  await assert.rejects(host.bindDriver(audio, 'nvme'), { errno: 'ENODEV' });
  assert.equal((await host.bindDriver(audio, 'snd_hda_intel')).driver, 'snd_hda_intel');
  const other = app.host({ topology: { text }, devices: [{ bdf: nvswitch, driver: 'nvme' }] });
  await assert.rejects(other, /\/devices\/0\/driver/);
});

test('a function of which two lines speak can be reset as any other', async () => {
  const text = `/sys/kernel/iommu_groups/22/devices/0000:05:00.0
05:00.0 Non-Volatile memory controller [0108]: Micron/Crucial Technology P2 [c0a9:540a] (rev 01)
\tKernel driver in use: vfio-pci`;
  const { group, reset, canReset, driver } = await (await app.host({ topology: { text } })).device('0000:05:00.0');
  assert.deepEqual([group, reset, canReset, driver], [22, true, true, 'vfio-pci']);
  const without = app.host({ topology: { text }, iommus: [] });
  await assert.rejects(without, /\/topology\/text: the driver of 0000:05:00\.0 cannot .*none \(null\)/);
});
