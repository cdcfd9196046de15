/** Steps of VFIO's container requests. */
import { anyId, anyIommufd, call, type Descriptor, descriptors, hex, type Maker } from './actions.ts';
import type { Iommufd } from './model/objects.ts';
import type { Model } from './model.ts';
import type { Picks } from './picks.ts';
import { ask, needing } from './requests.ts';
import { anyAddress, anyIova, anyLength, anyRange } from './values.ts';

const hasContainer = (model: Model): boolean => [...model.iommufds].some(({ vfioIoas: ioas }) => ioas !== null);

function anyContainer(model: Model, picks: Picks): Descriptor<Iommufd | null> {
  const good = descriptors(model, 'iommufd').filter(({ file }) => file.vfioIoas !== null);
  return good.length > 0 && !picks.rarely(15) ? picks.one(good) : anyIommufd(model, picks);
}

const vfioIoas: Maker = (model, picks) => {
  const iommufd = anyIommufd(model, picks);
  const ioas_id = anyId(iommufd.file, picks, 'ioas');
  return ask(picks, iommufd, 'IOMMU_VFIO_IOAS', { ioas_id, op: picks.mostly([1, 1, 1, 0, 2], 30, [3]) });
};

export const CONTAINER_STEPS: Readonly<Record<string, Maker>> = {
  vfioIoas,
  mapDma: needing(hasContainer, vfioIoas, (model, picks) => {
    const iommufd = anyContainer(model, picks);
    const arg = {
      flags: picks.mostly([3, 1, 2, 3], 15, [0, 4]),
      vaddr: hex(anyAddress(model, iommufd.pid, picks)),
      size: hex(anyLength(picks)),
      iova: hex(anyIova(model, iommufd.file?.vfioIoas?.space ?? null, picks)),
    };
    return ask(picks, iommufd, 'VFIO_IOMMU_MAP_DMA', arg, 'argsz');
  }),
  unmapDma: needing(hasContainer, vfioIoas, (model, picks) => {
    const iommufd = anyContainer(model, picks);
    const range = anyRange(model, iommufd.file?.vfioIoas?.space ?? null, picks);
    const all = { flags: 2, iova: '0x0', size: picks.mostly(['0x0'], 8, ['0x1000']) };
    const arg = picks.rarely(12)
      ? all
      : { flags: picks.mostly([0], 30, [4, 2]), iova: hex(range.iova), size: hex(range.length) };
    return ask(picks, iommufd, 'VFIO_IOMMU_UNMAP_DMA', arg, 'argsz');
  }),
  container: needing(hasContainer, vfioIoas, (model, picks) => {
    const iommufd = anyContainer(model, picks);
    const ask = (request: string, arg: Record<string, unknown>) =>
      call(iommufd.pid, 'ioctl', { fd: iommufd.fd, request, arg });
    switch (picks.below(6)) {
      case 3:
        return ask('VFIO_CHECK_EXTENSION', { extension: picks.one([4, 1, 3, 8, 9, 2, 77]) });
      case 4:
        return ask('VFIO_GET_API_VERSION', {});
      case 5:
        return ask('VFIO_IOMMU_GET_INFO', { argsz: picks.one([200, 24, 16, 12, 40, 56, 72, 80, 20]) });
      default:
        return ask('VFIO_SET_IOMMU', { type: picks.mostly([1, 3], 10, [2]) });
    }
  }),
};
