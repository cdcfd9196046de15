/** What devices and users inside the kernel do of their own accord: the tests of Linux have IOMMU_TEST_CMD for it. */
import { MAX_TRANSFER } from '../../../limits.ts';
import { FAULT_PERMISSIONS } from '../bits.ts';
import { part } from '../types.ts';
import { bits, call, may, need, TRANSFER } from './row.ts';

const iommufd = need('int', 'Descriptor of the iommufd.');
const device = need('int', 'Id of the device in the iommufd.');
const access = need('int', 'Descriptor of the access.');
const iova = need('u64', 'First IOVA.');
const length = need('u64', 'Bytes.');

export const LEVER_CALLS = {
  page_fault: call('The device asks for a page; the request goes to the fault queue of its HWPT.', '0', {
    fd: iommufd,
    device,
    pasid: need('int', 'PASID; 0: the device itself.'),
    grpid: need('int', 'Number of the request.'),
    perm: bits(FAULT_PERMISSIONS, 'What it wants to do there.'),
    addr: need('u64', 'Address.'),
  }),
  trigger_event: call('The device, on a nested HWPT of a vIOMMU, has an event for the guest.', '0', {
    fd: iommufd,
    device,
  }),
  check_iotlb: call('Whether an entry of the cache of a nested HWPT has this value; EINVAL if not.', '0', {
    fd: iommufd,
    hwpt: need('int', 'Id of the nested HWPT.'),
    index: need('int', 'Number of the entry.'),
    value: need('int', 'The value.'),
  }),
  check_dev_cache: call('Whether an entry of the cache of a device has this value; EINVAL if not.', '0', {
    fd: iommufd,
    device,
    index: need('int', 'Number of the entry.'),
    value: need('int', 'The value.'),
  }),
  pasid_check: call('Whether a PASID of the device is on this HWPT; EINVAL if not.', '0', {
    fd: iommufd,
    device,
    pasid: need('int', 'PASID.'),
    hwpt: need('int', 'Id of the HWPT; 0: on none.'),
  }),
  access_create: call('A user of an IOAS inside the kernel, as a mediated device is one.', 'its descriptor', {
    fd: iommufd,
    ioas: need('int', 'Id of the IOAS.'),
    pin: need('boolean', 'Whether it pins pages.'),
  }),
  access_pin: call('It pins the pages behind IOVAs.', 'the number of the pin', {
    fd: iommufd,
    access,
    iova,
    length,
    write: need('boolean', 'For writing.'),
    va: may('u64', 'Address of the pages in the calling process; EBADE if they are others.'),
  }),
  access_unpin: call('It lets go of a pin.', '0', { fd: iommufd, access, pin: need('int', 'Number of the pin.') }),
  access_rw: call(
    'It writes `data`, or reads; the bytes are in `data` then.',
    '0',
    {
      fd: iommufd,
      access,
      iova,
      length: need('u64', TRANSFER),
      write: need('boolean', 'Writes.'),
      data: may('bytes', 'The bytes to write.'),
    },
    part(`At most ${MAX_TRANSFER >> 20} MiB.`),
  ),
  access_replace: call('It goes over to another IOAS; its pins end.', '0', {
    fd: iommufd,
    access,
    ioas: need('int', 'Id of the IOAS.'),
  }),
};
