/** Which requests give back what hosts use, so that who uses too much can use less. */
import type { CallInput } from '../../host/command.ts';
import type { CallName } from '../../kernel/uapi/calls.ts';
import type { RequestName } from '../../kernel/uapi/index.ts';

/** Calls and requests that do nothing else. */
const FREEING: readonly (CallName | RequestName)[] = [
  'close',
  'munmap',
  'access_unpin',
  'IOMMU_DESTROY',
  'IOMMU_IOAS_UNMAP',
  'VFIO_IOMMU_UNMAP_DMA',
  'VFIO_DEVICE_DETACH_IOMMUFD_PT',
  'VFIO_GROUP_UNSET_CONTAINER',
];
const NAMES = new Set<unknown>(FREEING);

export const isFreeing = ({ call, request }: Pick<CallInput, 'call' | 'request'>): boolean =>
  NAMES.has(call === 'ioctl' ? request : call);
