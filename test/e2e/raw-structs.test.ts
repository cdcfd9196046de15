/**
 * A live update by a program that has no words for its ioctls: numbers, and bytes as a C compiler lays them out. It gets on as
 * the program that says the same by names does.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, type Host, MIB } from '../support/client.ts';

const app = useApp();

const RAM = 64 * MIB;
const IOVA = 0x1_0000_0000;
const READ = { accesses: [{ op: 'read', iova: IOVA, length: 5 }] };

/** What is at a byte of a struct: a word, a longer word, or a string. */
type Piece = readonly [at: number, value: number | bigint | string];

interface Ioctl {
  /** By names. */
  readonly request: string;
  readonly arg?: Record<string, unknown>;
  /** As a C program has it. */
  readonly number: number;
  readonly struct: Buffer;
  /** The word that is looked at afterwards: its name, and where it is. */
  readonly result?: readonly [name: string, at: number];
}

function struct(size: number, ...pieces: Piece[]): Buffer {
  const view = new DataView(new ArrayBuffer(size));
  view.setUint32(0, size, true);
  for (const [at, value] of pieces) {
    if (typeof value === 'number') view.setInt32(at, value, true);
    else if (typeof value === 'bigint') view.setBigUint64(at, value, true);
    else new TextEncoder().encodeInto(value, new Uint8Array(view.buffer, at));
  }
  return Buffer.from(view.buffer);
}

const bindIommufd = (iommufd: number): Ioctl => ({
  request: 'VFIO_DEVICE_BIND_IOMMUFD',
  arg: { iommufd },
  number: 0x3b76,
  struct: struct(24, [8, iommufd]),
  result: ['out_devid', 12],
});

const allocIoas = (): Ioctl => ({
  request: 'IOMMU_IOAS_ALLOC',
  number: 0x3b81,
  struct: struct(12),
  result: ['out_ioas_id', 8],
});

/** Flags: FIXED_IOVA, WRITEABLE, READABLE. */
const mapFile = (ioas: number, fd: number): Ioctl => ({
  request: 'IOMMU_IOAS_MAP_FILE',
  arg: { flags: 7, ioas_id: ioas, fd, start: 0, length: RAM, iova: IOVA },
  number: 0x3b8f,
  struct: struct(40, [4, 7], [8, ioas], [12, fd], [24, BigInt(RAM)], [32, BigInt(IOVA)]),
});

const allocHwpt = (device: number, ioas: number): Ioctl => ({
  request: 'IOMMU_HWPT_ALLOC',
  arg: { dev_id: device, pt_id: ioas },
  number: 0x3b89,
  struct: struct(48, [8, device], [12, ioas]),
  result: ['out_hwpt_id', 16],
});

const attach = (hwpt: number): Ioctl => ({
  request: 'VFIO_DEVICE_ATTACH_IOMMUFD_PT',
  arg: { pt_id: hwpt },
  number: 0x3b77,
  struct: struct(16, [8, hwpt]),
  result: ['pt_id', 8],
});

const mark = (hwpt: number, token: bigint): Ioctl => ({
  request: 'IOMMU_HWPT_LU_SET_PRESERVE',
  arg: { hwpt_id: hwpt, token: Number(token) },
  number: 0x3bc0,
  struct: struct(24, [8, hwpt], [16, token]),
});

const restore = (token: bigint): Ioctl => ({
  request: 'IOMMU_HWPT_LU_RESTORE',
  arg: { token: Number(token) },
  number: 0x3bc1,
  struct: struct(24, [16, token]),
  result: ['hwpt_id', 8],
});

const destroy = (id: number): Ioctl => ({
  request: 'IOMMU_DESTROY',
  arg: { id },
  number: 0x3b80,
  struct: struct(8, [4, id]),
});

const sessionBy = (request: string, number: number, name: string): Ioctl => ({
  request,
  arg: { name },
  number,
  struct: struct(72, [8, name]),
  result: ['fd', 4],
});

const preserve = (fd: number, token: bigint): Ioctl => ({
  request: 'LIVEUPDATE_SESSION_PRESERVE_FD',
  arg: { fd, token: Number(token) },
  number: 0xba40,
  struct: struct(16, [4, fd], [8, token]),
});

const retrieve = (token: bigint): Ioctl => ({
  request: 'LIVEUPDATE_SESSION_RETRIEVE_FD',
  arg: { token: Number(token) },
  number: 0xba41,
  struct: struct(16, [8, token]),
  result: ['fd', 4],
});

const finish = (): Ioctl => ({ request: 'LIVEUPDATE_SESSION_FINISH', number: 0xba42, struct: struct(8) });

type Call = Record<string, unknown>;

/** A program, and all that it was told: words that it looked at, and refusals. */
abstract class Program {
  readonly told: unknown[] = [];
  readonly host: Host;
  #pid = 0;

  constructor(host: Host) {
    this.host = host;
  }

  async start(): Promise<void> {
    this.#pid = (await this.host.process()).pid;
  }

  async call(call: Call): Promise<Record<string, unknown>> {
    const [result] = await this.host.runCalls(this.#pid, [call]);
    return { ...result! };
  }

  async ioctl(fd: number, ioctl: Ioctl): Promise<number> {
    const result = await this.call({ call: 'ioctl', fd, ...this.outgoing(ioctl) });
    const { ret, errno, where, why } = result;
    const word = errno === undefined ? this.wordOf(ioctl, result) : 0;
    this.told.push({ request: ioctl.request, word, ret, errno, where, why });
    return word;
  }

  protected abstract outgoing(ioctl: Ioctl): Call;
  /** 0 if none is looked at. */
  protected abstract wordOf(ioctl: Ioctl, result: Call): number;
}

class ByNames extends Program {
  protected outgoing({ request, arg }: Ioctl): Call {
    return { request, arg };
  }

  protected wordOf({ result }: Ioctl, { arg }: Call): number {
    return result ? (arg as Record<string, number>)[result[0]]! : 0;
  }
}

class ByBytes extends Program {
  protected outgoing({ number, struct }: Ioctl): Call {
    return { request: `0x${number.toString(16)}`, bytes: struct.toString('base64') };
  }

  protected wordOf({ struct, result }: Ioctl, { bytes }: Call): number {
    const after = Buffer.from(bytes as string, 'base64');
    assert.equal(after.length, struct.length);
    return result ? after.readUInt32LE(result[1]) : 0;
  }
}

/** The story of the README. */
async function liveUpdate(program: Program): Promise<void> {
  const { host } = program;
  const open = async (path: string): Promise<number> => (await program.call({ call: 'open', path })).ret as number;
  const dma = () => host.request('post', `/devices/${D1}/dma`, READ);

  await program.start();
  const made = await program.call({ call: 'memfd_create', name: 'ram', size: RAM, flags: ['MFD_ALLOW_SEALING'] });
  const ram = made.ret as number;
  await program.call({ call: 'pwrite', fd: ram, offset: 0, data: 'aGVsbG8=' });
  await program.call({ call: 'fcntl', fd: ram, cmd: 'F_ADD_SEALS', arg: 1 | 2 | 4 });
  const iommufd = await open('/dev/iommu');
  const cdev = await open('/dev/vfio/devices/vfio0');
  const device = await program.ioctl(cdev, bindIommufd(iommufd));
  const ioas = await program.ioctl(iommufd, allocIoas());
  await program.ioctl(iommufd, mapFile(ioas, ram));
  const hwpt = await program.ioctl(iommufd, allocHwpt(device, ioas));
  await program.ioctl(cdev, attach(hwpt));
  program.told.push(await dma());

  const luo = await open('/dev/liveupdate');
  const session = await program.ioctl(luo, sessionBy('LIVEUPDATE_IOCTL_CREATE_SESSION', 0xba00, 'vm1'));
  await program.ioctl(session, preserve(ram, 1n));
  await program.ioctl(iommufd, mark(hwpt, 7n));
  await program.ioctl(session, preserve(iommufd, 2n));
  await program.ioctl(session, preserve(cdev, 3n));
  await program.ioctl(iommufd, mapFile(ioas, ram)); // EBUSY
  await host.kexec({ mode: 'live-update' });
  program.told.push(await host.device(D1), await dma());

  await host.bindDriver(D1, 'vfio-pci');
  await program.start();
  const next = await open('/dev/liveupdate');
  const found = await program.ioctl(next, sessionBy('LIVEUPDATE_IOCTL_RETRIEVE_SESSION', 0xba01, 'vm1'));
  const ram2 = await program.ioctl(found, retrieve(1n));
  const iommufd2 = await program.ioctl(found, retrieve(2n));
  const cdev2 = await program.ioctl(found, retrieve(3n));
  await program.ioctl(found, finish()); // EBUSY
  const device2 = await program.ioctl(cdev2, bindIommufd(iommufd2));
  await program.ioctl(found, finish());
  const restored = await program.ioctl(iommufd2, restore(7n));
  const ioas2 = await program.ioctl(iommufd2, allocIoas());
  await program.ioctl(iommufd2, mapFile(ioas2, ram2));
  const hwpt2 = await program.ioctl(iommufd2, allocHwpt(device2, ioas2));
  await program.ioctl(cdev2, attach(hwpt2));
  await program.ioctl(iommufd2, destroy(restored));
  const { digest } = (await host.request('get', '')) as { digest: string };
  program.told.push(await dma(), await host.device(D1), digest, await host.events());
}

test('the story of the README by numbers and bytes is the story by names', async () => {
  const [named, raw] = [new ByNames(await app.host()), new ByBytes(await app.host())];
  for (const program of [named, raw]) await liveUpdate(program);
  assert.deepEqual(raw.told, named.told);
  const refused = raw.told.filter((each) => (each as { errno?: string }).errno !== undefined);
  assert.deepEqual(
    refused.map((each) => [(each as Ioctl).request, (each as { errno: string }).errno]),
    [
      ['IOMMU_IOAS_MAP_FILE', 'EBUSY'],
      ['LIVEUPDATE_SESSION_FINISH', 'EBUSY'],
    ],
  );
  const device = await raw.host.device(D1);
  assert.equal(device.state, 'S');
});
