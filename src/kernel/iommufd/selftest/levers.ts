/**
 * What devices and users inside the kernel do of their own accord, as calls: the tests of Linux reach it through
 * IOMMU_TEST_CMD (drivers/iommu/iommufd/selftest.c).
 */
import { MAX_TRANSFER } from '../../../limits.ts';
import { PAGE } from '../../../machine/address.ts';
import { big, bytes, type Call, type Calls, done, integer, type Outcome } from '../../call-input.ts';
import { Refusal, refuse } from '../../errno.ts';
import { frameOf } from '../../mm/faults.ts';
import type { FrameSpan } from '../../mm/frame-map.ts';
import type { Process } from '../../process.ts';
import type { LEVER_CALLS } from '../../uapi/calls/levers.ts';
import type { CallInput } from '../../uapi/calls.ts';
import { IommufdContext } from '../context.ts';
import { Access } from '../device/access.ts';
import { AccessFile } from '../device/access-file.ts';
import { accessRw } from '../device/access-rw.ts';
import { IommufdDevice } from '../device/device.ts';
import { reportPageFault } from '../eventq/fault-queue.ts';
import { Hwpt } from '../hw-pagetable/hwpt.ts';
import { HwptNested } from '../hw-pagetable/nested.ts';
import { Ioas, lookupIoas } from '../ioas.ts';

/** The most bytes that an access pins or moves at once, as in the tests of Linux. */
const MAX_ACCESS = 16n * 1024n * 1024n;

function onIommufd(run: (context: IommufdContext, input: CallInput, process: Process) => Outcome): Call {
  return (_kernel, process, input) => {
    const file = process.file(integer(input, 'fd'));
    if (file instanceof Refusal) return file;
    if (file instanceof IommufdContext) return run(file, input, process);
    return refuse('ENOTTY', 'vfs_ioctl', `descriptor ${integer(input, 'fd')} is no iommufd`);
  };
}

function onDevice(run: (device: IommufdDevice, input: CallInput) => Refusal | null): Call {
  return onIommufd((context, input) => {
    const device = context.objects.lookup(integer(input, 'device'), IommufdDevice, 'a device');
    return device instanceof IommufdDevice ? done(run(device, input)) : device;
  });
}

function onAccess(run: (file: AccessFile, input: CallInput, process: Process) => Outcome): Call {
  return onIommufd((_context, input, process) => {
    if (big(input, 'length') > MAX_ACCESS)
      return refuse('ENOMEM', 'iommufd_test_access_pages', `an access moves at most ${MAX_ACCESS} bytes at once`);
    const file = process.descriptors.get(integer(input, 'access'));
    if (file instanceof AccessFile) return run(file, input, process);
    return refuse('EBADFD', 'iommufd_access_get', `descriptor ${integer(input, 'access')} is no access`);
  });
}

/** EINVAL unless the entry `index` of a cache has this value. */
function hasValue(where: string, cache: Uint32Array, input: CallInput): Refusal | null {
  const index = integer(input, 'index');
  if (cache[index] === integer(input, 'value')) return null;
  return refuse('EINVAL', where, `entry ${index} has another value, or there is none`);
}

function checkIotlb(context: IommufdContext, input: CallInput): Outcome {
  const hwpt = context.objects.lookup(integer(input, 'hwpt'), HwptNested, 'a nested HWPT');
  return hwpt instanceof HwptNested ? done(hasValue('iommufd_test_md_check_iotlb', hwpt.cache, input)) : hwpt;
}

function checkPasid({ context, group }: IommufdDevice, input: CallInput): Refusal | null {
  const where = 'iommufd_test_pasid_check_hwpt';
  const pasid = integer(input, 'pasid');
  const id = integer(input, 'hwpt');
  const attachment = pasid === 0 ? context.attachments.get(group) : context.pasids.get(group, pasid);
  if (id === 0) return attachment ? refuse('EINVAL', where, `PASID ${pasid} is on HWPT ${attachment.hwpt.id}`) : null;
  const hwpt = context.objects.get(id);
  if (!hwpt) return refuse('ENOENT', where, `object ${id} of this iommufd is not there`);
  if (hwpt instanceof Hwpt && attachment?.hwpt === hwpt) return null;
  return refuse('EINVAL', where, `PASID ${pasid} is not on object ${id}`);
}

function createAccess(context: IommufdContext, input: CallInput, process: Process): Outcome {
  const { kernel } = context;
  const injected = kernel.faults.refusal('access.create', 'iommufd_access_create');
  if (injected) return injected;
  const access = context.objects.commit(context.objects.reserve(), new Access(context, input.pin === true, false));
  const ioas = lookupIoas(context, integer(input, 'ioas'));
  const refusal = ioas instanceof Ioas ? access.moveTo(ioas) : ioas;
  if (refusal) {
    access.close();
    return refusal;
  }
  const file = new AccessFile(access);
  const fd = process.install(file, true);
  if (typeof fd === 'number') return { ret: fd };
  file.put();
  return fd;
}

function pin({ access }: AccessFile, input: CallInput, process: Process): Outcome {
  const where = 'iommufd_test_access_pages';
  if (!access.pinsPages) return refuse('EOPNOTSUPP', where, 'the access was made without `pin`');
  const number = access.pin(big(input, 'iova'), big(input, 'length'), input.write === true, (frames) =>
    input.va === undefined ? null : pagesAt(process, big(input, 'va'), frames),
  );
  return typeof number === 'number' ? { ret: number } : number;
}

/** EBADE unless the process has these very pages at this address; EFAULT where it has none. */
function pagesAt({ mm }: Process, address: bigint, frames: readonly FrameSpan[]): Refusal | null {
  let page = Number(address / PAGE);
  for (const { frame, count } of frames)
    for (let index = 0; index < count; index++, page++) {
      const found = frameOf(mm, page);
      if (found instanceof Refusal) return found;
      if (found !== frame + index)
        return refuse('EBADE', 'iommufd_test_check_pages', 'the process has other pages there');
    }
  return null;
}

function rw({ access }: AccessFile, input: CallInput, process: Process): Outcome {
  const length = Number(big(input, 'length'));
  const write = input.write === true;
  if (length > MAX_TRANSFER) return refuse('EINVAL', 'iommufd_test_access_rw', `at most ${MAX_TRANSFER} bytes a call`);
  const data = new Uint8Array(length);
  if (write) data.set(bytes(input, 'data').subarray(0, length));
  const refusal = accessRw(access.ioas!, process, big(input, 'iova'), data, write);
  if (refusal) return refusal;
  if (write) return { ret: 0 };
  return { ret: 0, data: data.toBase64() };
}

function replace({ access }: AccessFile, input: CallInput): Outcome {
  const ioas = lookupIoas(access.context, integer(input, 'ioas'));
  return ioas instanceof Ioas ? done(access.moveTo(ioas)) : ioas;
}

export const LEVERS: Calls<typeof LEVER_CALLS> = {
  page_fault: onDevice((device, input) => {
    reportPageFault(device, {
      pasid: integer(input, 'pasid'),
      grpid: integer(input, 'grpid'),
      perm: integer(input, 'perm'),
      addr: big(input, 'addr'),
    });
    return null;
  }),
  trigger_event: onDevice(({ context, group, fn }) => {
    const hwpt = context.attachments.get(group)?.hwpt;
    if (hwpt instanceof HwptNested && hwpt.viommu) return hwpt.viommu.reportEvent(fn);
    return refuse('ENOENT', 'iommufd_test_trigger_vevent', `${fn.bdf} is on no HWPT of a vIOMMU`);
  }),
  check_iotlb: onIommufd(checkIotlb),
  check_dev_cache: onDevice((device, input) => hasValue('iommufd_test_dev_check_cache', device.cache, input)),
  pasid_check: onDevice(checkPasid),
  access_create: onIommufd(createAccess),
  access_pin: onAccess(pin),
  access_unpin: onAccess(({ access }, input) => done(access.unpin(integer(input, 'pin')))),
  access_rw: onAccess(rw),
  access_replace: onAccess(replace),
};
