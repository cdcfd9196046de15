/** The LUO handler of VFIO cdevs, `vfio-pci-v1` (C3, R6, R17, R22). */
import { refuse } from '../errno.ts';
import { both } from '../faces.ts';
import { HwptPaging } from '../iommufd/hw-pagetable/hwpt.ts';
import { isRecord } from '../kho/json.ts';
import { fileHandler } from '../liveupdate/handler.ts';
import { VfioDeviceFile } from './device-file.ts';

type State = { readonly bdf: string; readonly resetWorks: boolean };
/** `config`: the user's copy of the configuration space, base64; null: the device was reset, or the kernel knows of none. */
type Data = State & { readonly config: string | null };

const BASE64 = /^(?:[\w+/]{4})*(?:[\w+/]{2}==|[\w+/]{3}=)?$/;

export const VFIO_HANDLER = fileHandler<VfioDeviceFile, State, Data>({
  compatible: 'vfio-pci-v1',
  point: 'vfio',

  takes: (file) => file instanceof VfioDeviceFile,

  /** Only a bound cdev of vfio-pci itself can be preserved; a virtual function only if the policy lets it. */
  whyNot(kernel, file) {
    const { fn, path } = file.device;
    const driver = kernel.drivers.bound.get(fn.bdf);
    if (!file.cdev)
      return `${fn.bdf} was opened through its legacy group /dev/vfio/${fn.spec.group}; only what was opened as ${path} can be preserved`;
    if (driver !== 'vfio-pci') return `${fn.bdf} is on driver ${driver}, and only devices of vfio-pci can be preserved`;
    if (!file.bound) return `${fn.bdf} is not bound to an iommufd: bind it first (${both('bindIommufd')})`;
    if (fn.spec.sriov === 'vf' && kernel.policies.virtualFunctions !== 'allow')
      return `${fn.bdf} is a virtual function (policy virtualFunctions: refuse)`;
    return null;
  },

  identity: (file) => file,

  preserve(kernel, session, file) {
    const { fn, bound } = file.device;
    const where = 'vfio_pci_liveupdate_preserve';
    const group = kernel.iommu.groupOf(fn)!;
    if (fn.spec.sriov === 'pf') return refuse('EINVAL', where, `${fn.bdf} has SR-IOV`, 'C3');
    if (fn.spec.class?.startsWith('03') && fn.spec.vendor === '8086')
      return refuse('EINVAL', where, `${fn.bdf} is an Intel display device`, 'C3');
    if (group.functions.length > 1)
      return refuse(
        'EINVAL',
        where,
        `IOMMU group ${group.id} has ${group.functions.length} functions; only groups of one can be preserved`,
        'C3',
      );
    const hwpt = bound!.hwpt;
    if (hwpt) {
      if (!(hwpt instanceof HwptPaging) || hwpt.mark === null)
        return refuse(
          'EINVAL',
          where,
          hwpt instanceof HwptPaging && hwpt.auto
            ? `HWPT ${hwpt.id} was made by attaching to an IOAS, and cannot be marked: make one (${both('makeHwpt')}), attach to it (${both('attach')}) and mark that`
            : `HWPT ${hwpt.id} is not marked: mark it first (${both('markHwpt')})`,
          hwpt instanceof HwptPaging && hwpt.auto ? 'R14' : 'C3',
        );
      if (bound!.context.preservedIn !== session.name)
        return refuse(
          'ENOENT',
          where,
          `the iommufd is not in this session: preserve it first, by the same session (${both('preserve')})`,
          'C3',
        );
      if (!hwpt.preserved)
        return refuse('EINVAL', 'iommu_preserve_device', 'the domain of the device is not preserved', 'C3');
    }
    file.preserved = true;
    kernel.emit(
      'vfio.preserve',
      `${fn.bdf} will be handed over${hwpt ? ` on domain ${(hwpt as HwptPaging).domain.id}` : ' without a domain'}`,
      { bdf: fn.bdf },
    );
    return { bdf: fn.bdf, resetWorks: fn.spec.reset };
  },

  unpreserve(_kernel, file) {
    file.preserved = false;
  },

  freeze(kernel, file) {
    const { fn } = file.device;
    if (file.device.interruptsEnabled)
      return refuse(
        'EINVAL',
        'vfio_pci_liveupdate_freeze',
        `interrupts of ${fn.bdf} are enabled: disable them before reboot() (${both(fn.interruptsEnabled ? 'switchInterrupts' : 'disableInterrupts')})`,
        'R22',
      );
    if (kernel.policies.vfioFreezeResets) {
      kernel.resetFunction(fn, 'freeze');
      fn.config.restore();
      file.dead = true;
    }
    return null;
  },

  serialize: (file, state) => ({ ...state, config: file.dead ? null : file.pci.config.copy.toBase64() }),

  read(json) {
    if (!isRecord(json)) return null;
    const { bdf, resetWorks, config = null } = json;
    if (typeof bdf !== 'string' || typeof resetWorks !== 'boolean') return null;
    if (config === null) return { bdf, resetWorks, config };
    return typeof config === 'string' && BASE64.test(config) ? { bdf, resetWorks, config } : null;
  },

  retrieve(kernel, _session, _token, { bdf, resetWorks, config }) {
    const device = kernel.vfio.devices.get(bdf);
    if (!device || device.unbinding)
      return refuse(
        'ENODEV',
        'vfio_pci_liveupdate_retrieve',
        `${bdf} is not on vfio-pci, which has to be bound before the retrieve (${both('bindDriver')})`,
        'R17',
      );
    const copy = config ? Uint8Array.fromBase64(config) : null;
    return new VfioDeviceFile(device, true, { resetWorks, config: copy });
  },

  /** The cdev was retrieved and bound: else the device would be left where nobody can adopt it (R3). */
  canFinish(kernel, { data: { bdf }, file, failed }) {
    if (kernel.policies.finish === 'ignore') return null;
    if (file?.bound) return null;
    return refuse(
      'EBUSY',
      'vfio_pci_liveupdate_can_finish',
      failed
        ? `the retrieve of the cdev of ${bdf} has failed for good: this session cannot be finished in this kernel, and closing it changes nothing; only a reboot helps`
        : file
          ? `the cdev of ${bdf} is not bound: bind it to the iommufd of the session first (${both('bindIommufd')})`
          : `the cdev of ${bdf} is not retrieved: bind vfio-pci to it (${both('bindDriver')}), retrieve it (${both('retrieve')}) and bind it (${both('bindIommufd')}) first`,
      'R3',
    );
  },

  finish(kernel, { data: { bdf }, file }) {
    if (!file) kernel.restored.cdevLost(bdf, 'finished');
  },

  retrieveFailed: (kernel, _session, { data: { bdf } }) => kernel.restored.cdevLost(bdf, 'retrieve-failed'),
});
