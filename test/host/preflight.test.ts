/** A preflight foretells exactly what a kexec does, in whatever state a host is: 2,000 random histories, and what occurs in them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CallInput, CallResult, Command, EmittedEvent, NextKernel } from '../../src/host/command.ts';
import { buildHostSpec } from '../../src/host/host-spec.ts';
import type { DeviceView, HandoverView, PreflightView } from '../../src/host/views.ts';
import { makeHost } from '../../src/lanes/engine.ts';
import type { Engine } from '../../src/lanes/replay.ts';
import { Random } from '../crash/random.ts';

const HISTORIES = 2000;
const DEVICES = ['0000:01:00.0', '0000:02:00.0', '0000:03:00.0'];
const [IOVA, BYTES, ELSEWHERE] = ['0x100000000', 0x40000, '0x7f0000000000'];
/** How often a step of the right path is left out. */
const SLIP = 0.03;

const SPEC = (() => {
  const built = buildHostSpec({
    memory: '0x2000000',
    iommus: [{ id: 'dmar0', kind: 'intel-vtd' }],
    devices: DEVICES.map((bdf) => ({ bdf, class: '0108', driver: 'vfio-pci' })),
  });
  if ('errors' in built) throw new Error(JSON.stringify(built.errors));
  return built.spec;
})();

/** Other kernels than the one that runs, and the same one most of the time. */
const NEXT: (NextKernel | undefined)[] = [
  ...Array<undefined>(8).fill(undefined),
  { profile: 'linux-7.3' },
  { khoAbi: 'kho-v9' },
  { luoAbi: 'luo-v9' },
  { iommuAbi: 'iommu-v9' },
  { handlers: ['memfd-v2'] },
  { boot: { liveupdate: false } },
  { boot: { kho: false } },
  { boot: { builtinDrivers: ['nvme'] } },
];
const FREEZES = ['memfd.freeze', 'iommufd.freeze', 'vfio.freeze'] as const;
const FAULTS = [...FREEZES, 'kexec.power-loss', 'allocation'] as const;

/** What the plan of a device ends with in the second kernel. */
const ENDS = ['waiting', 'adopted', 'swapped', 'blocked', 'closed'] as const;

class History {
  readonly engine: Engine = makeHost(SPEC);
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  execute(command: Command): unknown {
    const { answer } = this.engine.execute(command);
    return answer.kind === 'ok' ? answer.value : null;
  }

  /** One that is called for, and left out now and then. */
  call(pid: number, call: CallInput): CallResult {
    if (this.#random.chance(SLIP)) return { ret: -1 };
    const value = this.execute({ op: 'calls', pid, calls: [call] }) as { results: CallResult[] } | null;
    return value?.results[0] ?? { ret: -1 };
  }

  ioctl(pid: number, fd: number, request: string, arg: Record<string, unknown> = {}): Record<string, unknown> {
    return this.call(pid, { call: 'ioctl', fd, request, arg } as CallInput).arg ?? {};
  }

  open(pid: number, path: string): number {
    return Number(this.call(pid, { call: 'open', path }).ret);
  }

  process(): number {
    return (this.execute({ op: 'process.create', name: 'vmm' }) as { pid: number } | null)?.pid ?? 0;
  }

  device(bdf: string): DeviceView {
    return (this.engine.query({ view: 'device', bdf }) as { value: DeviceView }).value;
  }

  /** A VMM on a device, on its way into a session. */
  prepare(bdf: string): void {
    const pid = this.process();
    const memfd = Number(this.call(pid, { call: 'memfd_create', name: 'ram', flags: 2, size: BYTES }).ret);
    this.call(pid, { call: 'add_seals', fd: memfd, seals: 7 });
    const iommufd = this.open(pid, '/dev/iommu');
    const cdev = this.open(pid, this.device(bdf).cdev ?? '/dev/null');
    const device = this.ioctl(pid, cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd }).out_devid ?? 0;
    const hwpt = this.#map(pid, { iommufd, memfd, device });
    this.ioctl(pid, cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: hwpt });
    this.#preserve(pid, { memfd, iommufd, cdev, hwpt, session: `vm-${bdf}` });
    this.#disturb(bdf);
  }

  #map(pid: number, { iommufd, memfd, device }: { iommufd: number; memfd: number; device: unknown }): unknown {
    const ioas = this.ioctl(pid, iommufd, 'IOMMU_IOAS_ALLOC').out_ioas_id ?? 0;
    const where = { flags: 7, ioas_id: ioas, length: BYTES, iova: IOVA };
    if (this.#random.chance(SLIP)) {
      this.call(pid, { call: 'mmap', addr: ELSEWHERE, length: BYTES } as CallInput);
      this.ioctl(pid, iommufd, 'IOMMU_IOAS_MAP', { ...where, user_va: ELSEWHERE });
    } else this.ioctl(pid, iommufd, 'IOMMU_IOAS_MAP_FILE', { ...where, fd: memfd, start: 0 });
    if (this.#random.chance(SLIP)) return ioas;
    return this.ioctl(pid, iommufd, 'IOMMU_HWPT_ALLOC', { dev_id: device, pt_id: ioas }).out_hwpt_id ?? 0;
  }

  #preserve(
    pid: number,
    {
      memfd,
      iommufd,
      cdev,
      hwpt,
      session: name,
    }: Record<'memfd' | 'iommufd' | 'cdev', number> & {
      hwpt: unknown;
      session: string;
    },
  ): void {
    // The device can be open once: whoever has it hands out sessions, and comes back to them by the process.
    const lu = this.open(pid, '/dev/liveupdate');
    const session = Number(this.ioctl(pid, lu, 'LIVEUPDATE_IOCTL_CREATE_SESSION', { name }).fd ?? -1);
    this.execute({ op: 'calls', pid, calls: [{ call: 'close', fd: lu }] });
    this.ioctl(pid, session, 'LIVEUPDATE_SESSION_PRESERVE_FD', { fd: memfd, token: 1 });
    this.ioctl(pid, iommufd, 'IOMMU_HWPT_LU_SET_PRESERVE', { hwpt_id: hwpt, token: 7 });
    this.ioctl(pid, session, 'LIVEUPDATE_SESSION_PRESERVE_FD', { fd: iommufd, token: 2 });
    this.ioctl(pid, session, 'LIVEUPDATE_SESSION_PRESERVE_FD', { fd: cdev, token: 3 });
  }

  /** What a kexec is refused for, or loses power by. */
  #disturb(bdf: string): void {
    const random = this.#random;
    if (random.chance(0.03)) this.execute({ op: 'device.update', bdf, interruptsEnabled: true });
    if (random.chance(0.1)) this.execute({ op: 'fault.arm', point: random.pick(FAULTS)!, nth: random.between(1, 2) });
    if (random.chance(0.02)) this.execute({ op: 'device.remove', bdf });
  }

  kexec(): void {
    const { answer, records } = this.engine.execute({ op: 'kexec.freeze', mode: 'live-update', image: 'loaded' });
    if (answer.kind === 'ok') this.execute({ op: 'kexec.boot', handover: handoverOf(records) });
  }

  /** What came of a VMM in the next kernel. */
  goOn(bdf: string): void {
    const random = this.#random;
    const end = random.pick(ENDS)!;
    if (end === 'waiting') return;
    if (!random.chance(SLIP)) this.execute({ op: 'driver.bind', bdf, driver: 'vfio-pci' });
    const pid = this.process();
    const lu = this.open(pid, '/dev/liveupdate');
    const session = Number(this.ioctl(pid, lu, 'LIVEUPDATE_IOCTL_RETRIEVE_SESSION', { name: `vm-${bdf}` }).fd ?? -1);
    this.execute({ op: 'calls', pid, calls: [{ call: 'close', fd: lu }] });
    const [memfd, iommufd, cdev] = [1, 2, 3].map((token) =>
      Number(this.ioctl(pid, session, 'LIVEUPDATE_SESSION_RETRIEVE_FD', { token }).fd ?? -1),
    ) as [number, number, number];
    const device = this.ioctl(pid, cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd }).out_devid ?? 0;
    if (end === 'adopted') return;
    if (end === 'blocked') {
      this.ioctl(pid, cdev, 'VFIO_DEVICE_DETACH_IOMMUFD_PT');
      return;
    }
    const hwpt = this.#map(pid, { iommufd, memfd, device });
    this.ioctl(pid, cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: hwpt });
    if (random.chance(0.5)) this.ioctl(pid, session, 'LIVEUPDATE_SESSION_FINISH');
    if (end === 'closed') this.execute({ op: 'process.kill', pid });
    else if (random.chance(0.5)) this.#preserve(pid, { memfd, iommufd, cdev, hwpt, session: 'again' });
  }
}

function handoverOf(records: readonly { kind: string }[]): string | null {
  const record = records.find(({ kind }) => kind === 'handover');
  return (record as { text?: string | null } | undefined)?.text ?? null;
}

/** One to three devices; one kernel, or two. */
function tell(random: Random): History {
  const history = new History(random);
  const [first, second, third] = DEVICES as [string, string, string];
  history.prepare(first);
  if (random.chance(0.3)) return history;
  if (random.chance(0.5)) history.prepare(second);
  history.kexec();
  for (const bdf of [first, second]) if (history.device(bdf)?.state === 'L') history.goOn(bdf);
  history.execute({ op: 'driver.bind', bdf: third, driver: 'vfio-pci' });
  history.prepare(third);
  return history;
}

interface Question {
  mode: 'live-update' | 'plain';
  kernel?: NextKernel;
}

/** What is foretold of a kexec, and what comes of it, in the same form. */
type Outcome = Pick<PreflightView, 'refusal' | 'handedOver' | 'panic' | 'hazards'>;

function foretold(engine: Engine, question: Question): Outcome | null {
  const found = engine.query({ view: 'preflight', ...question });
  let answer = found;
  if (!('kind' in found)) {
    let step = found.next();
    while (!step.done) step = found.next();
    answer = step.value;
  }
  if (!('kind' in answer) || answer.kind !== 'ok') return null;
  const { refusal, handedOver, panic, hazards } = answer.value as PreflightView;
  return { refusal, handedOver, panic, hazards };
}

function happened(engine: Engine, question: Question): Outcome {
  const frozen = engine.execute({ op: 'kexec.freeze', image: 'loaded', ...question });
  if (frozen.answer.kind === 'refused') {
    const { errno, where, why, rule = null } = frozen.answer;
    return { refusal: { errno, where, why, rule }, handedOver: null, panic: null, hazards: [] };
  }
  const booted = engine.execute({ op: 'kexec.boot', handover: handoverOf(frozen.records) });
  const { handedOver, panic } = (booted.answer as { value: { handedOver: HandoverView; panic: string | null } }).value;
  const isHazard = ({ kind }: EmittedEvent): boolean => kind === 'hazard';
  const hazards = [...frozen.events, ...booted.events].filter(isHazard);
  return { refusal: null, handedOver, panic, hazards: hazards.map(({ message, data }) => ({ message, data })) };
}

const question = (random: Random): Question => {
  const kernel = random.pick(NEXT);
  return { mode: random.chance(0.95) ? 'live-update' : 'plain', ...(kernel && { kernel }) };
};

test(`a preflight is what the kexec then does, in ${HISTORIES} histories`, (context) => {
  const counts = new Map<string, number>();
  const count = (what: string): unknown => counts.set(what, (counts.get(what) ?? 0) + 1);
  for (let seed = 1; seed <= HISTORIES; seed++) {
    const random = new Random(seed);
    const { engine, ...history } = tell(random);
    void history;
    const devices = (engine.query({ view: 'devices' }) as { value: DeviceView[] }).value;
    if (devices.some(({ preserved, domain }) => preserved && domain.kind === 'paging')) count('preserved on a domain');
    for (const { state } of devices) count(`state ${state}`);
    const asked = question(random);
    const before = foretold(engine, asked);
    if (before === null) {
      count('no kernel');
      continue;
    }
    const after = happened(engine, asked);
    assert.deepEqual(before, after, `seed ${seed}`);
    if (after.refusal) count(`refused: ${/ at (\S+) was armed/.exec(after.refusal.why)?.[1] ?? after.refusal.where}`);
    if (after.panic) count('panic');
    for (const { data } of after.hazards) count(`hazard ${data.hazard}`);
    for (const { fate, state } of after.handedOver?.devices ?? []) count(`${fate} ${state}`);
  }
  for (const [what, times] of [...counts].sort()) context.diagnostic(`${what}: ${times}`);
  assert.ok(counts.get('preserved on a domain')! >= HISTORIES / 2);
  for (const state of ['L', 'A', 'S', 'X', 'N']) assert.ok(counts.get(`state ${state}`)! > 50, `state ${state}`);
  for (const where of [...FREEZES, 'vfio_pci_liveupdate_freeze'])
    assert.ok(counts.get(`refused: ${where}`)! > 5, where);
  for (const what of ['panic', 'kept L', 'kept N', 'lost N', 'hazard device-left-behind', 'hazard session-lost'])
    assert.ok(counts.get(what)! > 5, what);
});

test('a preflight that overlooks the next kernel is found out', () => {
  const overlooked = Array.from({ length: 100 }, (_, index) => index + 1).some((seed) => {
    const { engine } = tell(new Random(seed));
    const before = foretold(engine, { mode: 'live-update' });
    const kernel: NextKernel = { handlers: ['memfd-v2'] };
    return before !== null && !isSame(before, happened(engine, { mode: 'live-update', kernel }));
  });
  assert.ok(overlooked);
});

function isSame(a: Outcome, b: Outcome): boolean {
  try {
    assert.deepEqual(a, b);
    return true;
  } catch {
    return false;
  }
}
