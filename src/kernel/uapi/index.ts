/** The request table: every ioctl that a descriptor of the simulated kernel knows, by name. */
import { IOMMUFD_REQUESTS } from './iommufd.ts';
import { LIVEUPDATE_REQUESTS } from './liveupdate.ts';
import type { RequestDescriptor } from './types.ts';
import { VFIO_REQUESTS } from './vfio.ts';

export const REQUESTS: ReadonlyMap<string, RequestDescriptor> = new Map(
  [...IOMMUFD_REQUESTS, ...VFIO_REQUESTS, ...LIVEUPDATE_REQUESTS].map((descriptor) => [descriptor.name, descriptor]),
);

export * from './types.ts';
