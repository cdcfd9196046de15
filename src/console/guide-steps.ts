/**
 * The guided update: what is asked, step by step, and why; and mistakes that can be made on the way. It is the story of README.md, with what
 * answers give in place of its numbers.
 */
import type { DeviceView, EngineView, HandoverView, PreflightView, ProcessView } from '../host/views.ts';
import { count } from '../timeline/text.ts';

/** What the steps need to know: of the device, and of the answers so far. In a request `{pid}` stands for the one of that name. */
export type Values = Readonly<Record<string, string | number>>;

export interface Request {
  /** Method, path below that of the host, and the body, if it has one. */
  readonly request: string;
  /** Names of values, and the fields of the answer that they are. */
  readonly keeps?: Readonly<Record<string, string>>;
  /** What an answer says that is longer than a line. */
  told?(answer: unknown): string;
}

export interface Step extends Request {
  readonly label: string;
  readonly why: string;
  /** The story wants it to be refused with this. */
  readonly refusal?: string;
  /** What can be tried before it. */
  readonly mistake?: Mistake;
}

export interface Mistake {
  readonly label: string;
  /** What will happen. */
  readonly what: string;
  readonly requests: readonly Request[];
  /** No step can be done any more. */
  readonly isLast?: boolean;
}

export interface Chapter {
  readonly title: string;
  readonly about: string;
  readonly steps: readonly Step[];
}

const VMM = '/processes/{pid}';
const DEVICE = '/devices/{bdf}';
const MEMORY = 67_108_864;
const IOVA = '0x100000000';

interface DmaAnswer {
  results: ({ ok: true; data: string } | { ok: false; fault: { reason: string } })[];
}

const START: Request = {
  request: 'POST /processes {"name": "vmm"}',
  keeps: { pid: 'pid' },
  told: ({ pid }: ProcessView) => `It is process ${pid}.`,
};

const READ: Request = {
  request: `POST ${DEVICE}/dma {"accesses": [{"op": "read", "iova": "${IOVA}", "length": 5}]}`,
  told: ({ results: [read] }: DmaAnswer) =>
    read?.ok ? `The device has read “${atob(read.data)}”.` : `The device has read nothing: ${read?.fault.reason}.`,
};

const KEXEC: Request = {
  request: 'POST /kexec {"mode": "live-update"}',
  // The answer has no pid: no process is left.
  keeps: { kernel: 'kernel', pid: 'pid' },
  told: ({ kernel, handedOver }: { kernel: number; handedOver: HandoverView }) => {
    const having = (fate: string): string =>
      handedOver.devices
        .filter((device) => device.fate === fate)
        .map(({ bdf, state }) => (state === 'N' ? bdf : `${bdf} (state ${state})`))
        .join(', ') || 'none';
    return `Kernel ${kernel} runs. Devices that have gone on: ${having('kept')}; lost: ${having('lost')}.`;
  },
};

const FINISH: Request = { request: `POST ${VMM}/sessions/{session}/finish` };

const PREPARED: Chapter = {
  title: 'A VMM with a guest',
  about: 'A VMM gives a device the memory of its guest.',
  steps: [
    {
      label: 'Start a VMM',
      why: 'A process that may do all that is asked below.',
      ...START,
    },
    {
      label: 'Make a memfd',
      why: 'The memory of the guest is a file without a name: 64 MiB.',
      request: `POST ${VMM}/memfds {"name": "ram", "size": ${MEMORY}, "flags": ["MFD_ALLOW_SEALING"]}`,
      keeps: { ram: 'fd' },
    },
    {
      label: 'Write hello',
      why: 'The guest has “hello” at its start, in base64 here: what the device reads later is known by it.',
      request: `PUT ${VMM}/memfds/{ram}/data?offset=0 {"data": "${btoa('hello')}"}`,
    },
    {
      label: 'Seal the memfd',
      why: 'It cannot grow or shrink any more: only then can an IOAS that maps it be preserved.',
      request: `POST ${VMM}/memfds/{ram}/seals {"seals": ["F_SEAL_SEAL", "F_SEAL_SHRINK", "F_SEAL_GROW"]}`,
    },
    {
      label: 'Open an iommufd',
      why: 'Its objects are the IOAS, the HWPT and the devices that are bound to it.',
      request: `POST ${VMM}/iommufds`,
      keeps: { iommufd: 'fd' },
    },
    {
      label: 'Open the cdev',
      why: 'The character device of the function, which vfio-pci has made.',
      request: `POST ${VMM}/cdevs {"path": "{cdev}"}`,
      keeps: { vfio: 'fd' },
    },
    {
      label: 'Bind the cdev to the iommufd',
      why: 'The VMM owns the DMA of the device now, which is blocked so far. The answer is the id of the device on the iommufd.',
      request: `PUT ${VMM}/cdevs/{vfio}/iommufd {"iommufd": {iommufd}}`,
      keeps: { device: 'device' },
    },
    {
      label: 'Make an IOAS',
      why: 'A list of mappings, which is empty.',
      request: `POST ${VMM}/iommufds/{iommufd}/ioases`,
      keeps: { ioas: 'ioas' },
    },
    {
      label: 'Map the memfd',
      why: `The memory of the guest stands at IOVA ${IOVA} from now on.`,
      request: `POST ${VMM}/iommufds/{iommufd}/ioases/{ioas}/file-mappings {"fd": {ram}, "start": 0, "length": ${MEMORY}, "iova": "${IOVA}"}`,
    },
    {
      label: 'Make a HWPT',
      why: 'A hardware page table that shows the mappings of the IOAS. Only one that was made so, and not by attaching, can be preserved.',
      request: `POST ${VMM}/iommufds/{iommufd}/hwpts {"device": {device}, "pageTable": {ioas}}`,
      keeps: { hwpt: 'hwpt' },
    },
    {
      label: 'Attach the device to the HWPT',
      why: 'The DMA of the device is translated by it from now on.',
      request: `PUT ${VMM}/cdevs/{vfio}/attachment {"pageTable": {hwpt}}`,
    },
  ],
};

const DMA: Chapter = {
  title: 'DMA that goes on',
  about: 'The device reads the memory of the guest, and will not stop for anything that follows.',
  steps: [
    { label: 'Read as the device', why: 'One DMA: five bytes from the start of the guest.', ...READ },
    {
      label: 'Start an engine',
      why: 'DMA all the time: the device reads all 64 MiB, again and again, and each page is watched from now on.',
      request: `POST ${DEVICE}/engines {"access": "read", "ranges": [{"iova": "${IOVA}", "length": "0x${MEMORY.toString(16)}"}]}`,
      keeps: { engine: 'id' },
      told: ({ id, pages }: EngineView) => `Engine ${id} reads ${count(pages, 'page')}.`,
    },
  ],
};

const PRESERVED: Chapter = {
  title: 'Into a session',
  about: 'What is in a session is handed over to the next kernel: the memory, then the iommufd, then the device.',
  steps: [
    {
      label: 'Open /dev/liveupdate',
      why: 'The Live Update Orchestrator makes sessions, and gives them back.',
      request: `POST ${VMM}/liveupdates`,
      keeps: { luo: 'fd' },
      mistake: {
        label: 'Kexec without a session',
        what: 'The mistake: the kernel is replaced now. The device is left behind: its DMA ends, the memory of its guest is gone, and so is the VMM; the guide has to begin anew.',
        requests: [KEXEC],
        isLast: true,
      },
    },
    {
      label: 'Make a session',
      why: 'Its name finds it again in the next kernel.',
      request: `POST ${VMM}/liveupdates/{luo}/sessions {"name": "{name}"}`,
      keeps: { session: 'fd' },
    },
    {
      label: 'Preserve the memfd',
      why: 'The memory first: the iommufd refuses to go while memory that it maps does not. A token finds each file again.',
      request: `POST ${VMM}/sessions/{session}/files {"fd": {ram}, "token": 1}`,
    },
    {
      label: 'Mark the HWPT',
      why: 'Only a HWPT that is marked with a token goes with its iommufd.',
      request: `PUT ${VMM}/iommufds/{iommufd}/hwpts/{hwpt}/token {"token": 7}`,
    },
    {
      label: 'Preserve the iommufd',
      why: 'From now on its mappings cannot be changed until the session is closed.',
      request: `POST ${VMM}/sessions/{session}/files {"fd": {iommufd}, "token": 2}`,
    },
    {
      label: 'Preserve the cdev',
      why: 'The device last: it goes with the domain that it is attached to.',
      request: `POST ${VMM}/sessions/{session}/files {"fd": {vfio}, "token": 3}`,
    },
    {
      label: 'Ask the preflight',
      why: 'It does the kexec on a copy of the host, and tells what would become of this one.',
      request: 'GET /preflight',
      told: ({ refusal, hazards, steps }: PreflightView) =>
        refusal === null
          ? `Not refused; ${count(hazards.length, 'hazard')}, ${count(steps.length, 'step')} to do first.`
          : `reboot() would be refused: ${refusal.errno} in ${refusal.where}.`,
    },
  ],
};

const REPLACED: Chapter = {
  title: 'The kexec',
  about: 'The kernel is replaced, and no process is left. The device goes on all the same.',
  steps: [
    {
      label: 'Replace the kernel',
      why: 'A kexec with a handover: a second without a kernel, in which the engine reads on.',
      ...KEXEC,
    },
    {
      label: 'Look at the device',
      why: 'It is in luo mode, state L: on its domain still, and nobody gets it but the one who restores it.',
      request: `GET ${DEVICE}`,
      told: ({ bdf, state, owner, domain }: DeviceView) =>
        `${bdf} is in state ${state}, its owner is ${owner ?? 'nobody'}, its domain ${domain.id ?? domain.kind}${domain.restored ? ', restored' : ''}.`,
    },
    { label: 'Read without any program', why: 'No program has the device, and its DMA leads where it did.', ...READ },
    {
      label: 'Try the driver of the kernel',
      why: 'A driver that would do DMA of its own has to be refused with EBUSY: the domain belongs to the session.',
      request: `PUT ${DEVICE}/driver {"driver": "{driver}"}`,
      refusal: 'EBUSY',
    },
  ],
};

const RESTORED: Chapter = {
  title: 'After the kexec: in this order',
  about: 'First vfio-pci, then the session and what is in it, then the bind of the cdev, FINISH at the end.',
  steps: [
    {
      label: 'Bind vfio-pci',
      why: 'Before the cdev is retrieved: without it that fails, and a retrieve that has failed is final.',
      request: `PUT ${DEVICE}/driver {"driver": "vfio-pci"}`,
      told: ({ bdf, driver, state }: DeviceView) => `${bdf} is on ${driver}, in state ${state}.`,
    },
    {
      label: 'Start the new VMM',
      why: 'Another process, which knows nothing but the name of the session and the tokens.',
      ...START,
    },
    {
      label: 'Open /dev/liveupdate again',
      why: 'That of the new kernel, which knows the sessions of the old one.',
      request: `POST ${VMM}/liveupdates`,
      keeps: { luo: 'fd' },
    },
    {
      label: 'Retrieve the session',
      why: 'Its descriptor has to stay open until FINISH: closed before, what is in it is out of reach until the next reboot.',
      request: `POST ${VMM}/liveupdates/{luo}/retrievals {"name": "{name}"}`,
      keeps: { session: 'fd' },
    },
    {
      label: 'Retrieve the memfd',
      why: 'The memory of the guest, with what is in it.',
      request: `POST ${VMM}/sessions/{session}/files/1/retrieve`,
      keeps: { ram: 'fd' },
    },
    {
      label: 'Retrieve the iommufd',
      why: 'A new iommufd, in which the marked HWPT will be.',
      request: `POST ${VMM}/sessions/{session}/files/2/retrieve`,
      keeps: { iommufd: 'fd' },
    },
    {
      label: 'Retrieve the cdev',
      why: 'The device is open again, and in luo mode still.',
      request: `POST ${VMM}/sessions/{session}/files/3/retrieve`,
      keeps: { vfio: 'fd' },
    },
    {
      label: 'Bind the retrieved cdev',
      why: 'The bind adopts the domain, state A: the VMM owns the device again, and no DMA has failed.',
      request: `PUT ${VMM}/cdevs/{vfio}/iommufd {"iommufd": {iommufd}}`,
      keeps: { device: 'device' },
      mistake: {
        label: 'FINISH before the bind',
        what: 'The mistake: the session is finished while nobody has adopted the device. It is refused with EBUSY, nothing changes, and the guide goes on.',
        requests: [FINISH],
      },
    },
    {
      label: 'Finish the session',
      why: 'Everything in it has an owner: the live update is over, and its domain stays as long as the VMM likes.',
      ...FINISH,
    },
  ],
};

const SWAPPED: Chapter = {
  title: 'A new HWPT without a gap',
  about:
    'The VMM cannot change a restored HWPT: it makes another one that shows the same, and moves the device to it while it does DMA.',
  steps: [
    {
      label: 'Find the restored HWPT',
      why: 'The bind has put it into the iommufd; its token tells its id.',
      request: `GET ${VMM}/iommufds/{iommufd}/restored-hwpts/7`,
      keeps: { hwpt: 'hwpt' },
    },
    {
      label: 'Make a new IOAS',
      why: 'A list of mappings that can be changed again.',
      request: `POST ${VMM}/iommufds/{iommufd}/ioases`,
      keeps: { ioas: 'ioas' },
    },
    {
      label: 'Map the memfd anew',
      why: 'The same memory at the same IOVA: what the engine reads must not change.',
      request: `POST ${VMM}/iommufds/{iommufd}/ioases/{ioas}/file-mappings {"fd": {ram}, "start": 0, "length": ${MEMORY}, "iova": "${IOVA}"}`,
    },
    {
      label: 'Make a new HWPT',
      why: 'It shows the new IOAS.',
      request: `POST ${VMM}/iommufds/{iommufd}/hwpts {"device": {device}, "pageTable": {ioas}}`,
      keeps: { newHwpt: 'hwpt' },
    },
    {
      label: 'Move the device to the new HWPT',
      why: 'The hot-swap, state S: at no time is the device without a domain.',
      request: `PUT ${VMM}/cdevs/{vfio}/attachment {"pageTable": {newHwpt}}`,
      mistake: {
        label: 'Move to an empty HWPT',
        what: 'The mistake: the device is moved to a HWPT that shows nothing. Linux does not refuse it; each access faults until the guide goes on, and the engine tells of a gap.',
        requests: [
          { request: `POST ${VMM}/iommufds/{iommufd}/ioases`, keeps: { emptyIoas: 'ioas' } },
          {
            request: `POST ${VMM}/iommufds/{iommufd}/hwpts {"device": {device}, "pageTable": {emptyIoas}}`,
            keeps: { emptyHwpt: 'hwpt' },
          },
          { request: `PUT ${VMM}/cdevs/{vfio}/attachment {"pageTable": {emptyHwpt}}` },
          READ,
        ],
      },
    },
    {
      label: 'Free the old HWPT',
      why: 'Nobody is attached to it any more: the last thing of the old kernel goes.',
      request: `DELETE ${VMM}/iommufds/{iommufd}/hwpts/{hwpt}`,
    },
    { label: 'Read by the new HWPT', why: 'The same memory as at the start.', ...READ },
    {
      label: 'Ask the engine',
      why: 'It has watched all of its pages through everything: the kexec, the bind, the move.',
      request: `GET ${DEVICE}/engines/{engine}`,
      told: ({ pages, continuousPages, gaps, moved }: EngineView) =>
        `${continuousPages} of ${count(pages, 'page')} without a gap; ${count(gaps.length, 'gap')}, ${moved.length} moved to other memory.`,
    },
  ],
};

export const CHAPTERS: readonly Chapter[] = [PREPARED, DMA, PRESERVED, REPLACED, RESTORED, SWAPPED];

/** What a device is called in the steps. Its session is named by it, so that the guide can be gone through with several of a host. */
export const valuesOf = ({ bdf, cdev, class: kind }: DeviceView, kernel: number): Values => ({
  bdf,
  cdev: cdev!,
  name: `vm-${cdev!.split('/').at(-1)}`,
  // The one of the kernel that takes NVMe drives, and no others; this one takes any function.
  driver: kind === '0108' ? 'nvme' : 'uio_pci_generic',
  kernel,
});

/** One that the guide can be gone through with. */
export const suitable = (devices: readonly DeviceView[]): DeviceView | undefined =>
  devices.find(({ cdev, state, owner }) => cdev !== null && state === 'N' && owner === null);

/** One that would be suitable on vfio-pci: it has no driver, and is alone in its group; an NVMe drive first. */
export function bindable(devices: readonly DeviceView[]): DeviceView | undefined {
  const groups = Map.groupBy(devices, ({ group }) => group);
  const found = devices.filter(
    ({ driver, state, group, class: kind }) =>
      driver === null && state === 'N' && group !== null && groups.get(group)!.length === 1 && !kind?.startsWith('06'),
  );
  return found.find(({ class: kind }) => kind === '0108') ?? found[0];
}
