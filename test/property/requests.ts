/** Requests of iommufds and cdevs, and what they are mostly asked of. */
import { type Action, call, descriptors, type Maker } from './actions.ts';
import type { Ioas } from './model/ioas.ts';
import type { Hwpt, Iommufd } from './model/objects.ts';
import type { Model } from './model.ts';
import type { Picks } from './picks.ts';

type Fields = Record<string, unknown>;

/** Requests whose struct has a field of this name; the API takes no others. */
const RESERVED = [
  'IOMMU_IOAS_ALLOW_IOVAS',
  'IOMMU_IOAS_IOVA_RANGES',
  'IOMMU_IOAS_MAP',
  'IOMMU_OPTION',
  'IOMMU_VFIO_IOAS',
  'IOMMU_HWPT_ALLOC',
  'IOMMU_GET_HW_INFO',
  'IOMMU_HWPT_SET_DIRTY_TRACKING',
  'IOMMU_HWPT_GET_DIRTY_BITMAP',
  'IOMMU_IOAS_CHANGE_PROCESS',
];
const FLAGS = [
  'IOMMU_IOAS_ALLOC',
  'IOMMU_IOAS_MAP',
  'IOMMU_IOAS_MAP_FILE',
  'IOMMU_IOAS_COPY',
  'IOMMU_HWPT_ALLOC',
  'IOMMU_GET_HW_INFO',
  'IOMMU_HWPT_SET_DIRTY_TRACKING',
  'IOMMU_HWPT_GET_DIRTY_BITMAP',
  'VFIO_IOMMU_MAP_DMA',
  'VFIO_IOMMU_UNMAP_DMA',
  'VFIO_DEVICE_BIND_IOMMUFD',
  'VFIO_DEVICE_ATTACH_IOMMUFD_PT',
  'VFIO_DEVICE_DETACH_IOMMUFD_PT',
];

/** A request; now and then with an unusual size, tail, flag or reserved field. */
export function ask(
  picks: Picks,
  { pid, fd }: { pid: number; fd: number },
  request: string,
  arg: Fields,
  sizeField: 'size' | 'argsz' = 'size',
): Action {
  if (!picks.rarely(40)) return call(pid, 'ioctl', { fd, request, arg });
  const odd: Fields[] = [
    { [sizeField]: 4 },
    { [sizeField]: 200, tail: 1 },
    { [sizeField]: 200 },
    { [sizeField]: picks.one([24, 28, 32, 40]) },
    ...(RESERVED.includes(request) ? [{ __reserved: 1 }] : []),
    ...(FLAGS.includes(request) ? [{ flags: 0x100 }] : []),
  ];
  return call(pid, 'ioctl', { fd, request, arg: { ...arg, ...picks.one(odd) } });
}

export const spaceOf = (context: Iommufd | null, id: number): Ioas | null => {
  const object = context?.objects.get(id);
  return object?.type === 'ioas' ? object.space : null;
};

export const anyHwpt = (context: Iommufd | null, id: number): Hwpt | null => {
  const object = context?.objects.get(id);
  return object?.type === 'hwpt' ? object : null;
};

/** Processes that have an iommufd. */
export const withIommufd = (model: Model): number[] => [
  ...new Set(descriptors(model, 'iommufd').map(({ pid }) => pid)),
];

/** A step that needs something which is not there makes it instead, mostly. */
export function needing(isThere: (model: Model) => boolean, instead: Maker, step: Maker): Maker {
  return (model, picks) => (isThere(model) || picks.rarely(10) ? step : instead)(model, picks);
}
