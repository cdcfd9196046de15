/** The requests of a VFIO container on an iommufd of the model, as src/kernel/iommufd/README.md has them. */
import { Failure, type Out, PAGE, UMAX } from './base.ts';
import { READ, WRITE } from './ioas.ts';
import { Arg, mapMemory, type Surroundings } from './iommufd.ts';
import type { IoasObject, Iommufd } from './objects.ts';
import type { Process } from './process.ts';

const TYPE1 = 1;
const TYPE1V2 = 3;

/** Bytes of the structs; 0: the argument is a number. */
const SIZES: Readonly<Record<string, number>> = {
  VFIO_GET_API_VERSION: 0,
  VFIO_CHECK_EXTENSION: 0,
  VFIO_SET_IOMMU: 0,
  VFIO_IOMMU_GET_INFO: 16,
  VFIO_IOMMU_MAP_DMA: 32,
  VFIO_IOMMU_UNMAP_DMA: 24,
};

export const CONTAINER_REQUESTS = Object.keys(SIZES);

interface Answer {
  ret: number;
  out: Out;
}

export function containerIoctl(
  world: Surroundings,
  context: Iommufd,
  request: string,
  fields: Record<string, unknown>,
  process: Process,
): Answer {
  const arg = new Arg(fields);
  const tooSmall = Number(fields.argsz ?? 1e9) < SIZES[request]!;
  const compat = (): IoasObject => {
    if (!context.vfioIoas) throw new Failure('ENODEV');
    return context.vfioIoas;
  };
  if (tooSmall && request === 'VFIO_IOMMU_UNMAP_DMA') throw new Failure('EINVAL', { size: arg.long('size') });
  if (tooSmall) throw new Failure('EINVAL');
  switch (request) {
    case 'VFIO_GET_API_VERSION':
      return { ret: 0, out: {} };
    case 'VFIO_CHECK_EXTENSION': {
      const extension = arg.number('extension');
      if (extension === 4) return { ret: compat().hwpts.length > 0 ? 0 : 1, out: {} };
      return { ret: [TYPE1, TYPE1V2, 8, 9].includes(extension) ? 1 : 0, out: {} };
    }
    case 'VFIO_SET_IOMMU': {
      const type = arg.number('type');
      if (type !== TYPE1 && type !== TYPE1V2) throw new Failure('EINVAL');
      const { space } = compat();
      if (type === TYPE1) space.setHugePages(false);
      return { ret: 0, out: {} };
    }
    case 'VFIO_IOMMU_MAP_DMA': {
      const flags = arg.number('flags');
      if (flags & ~3) throw new Failure('EINVAL');
      mapMemory(world, context, compat(), process, {
        va: arg.long('vaddr'),
        length: arg.long('size'),
        iova: arg.long('iova'),
        access: (flags & 1 ? READ : 0) | (flags & 2 ? WRITE : 0),
      });
      return { ret: 0, out: {} };
    }
    case 'VFIO_IOMMU_UNMAP_DMA':
      return { ret: 0, out: { size: unmap(arg, compat) } };
    default:
      return { ret: 0, out: info(arg.number('argsz') || 24, compat()) };
  }
}

function unmap(arg: Arg, compat: () => IoasObject): bigint {
  const [flags, iova, size] = [arg.number('flags'), arg.long('iova'), arg.long('size')];
  let written = size;
  try {
    if (flags & ~2) throw new Failure('EINVAL');
    const { space } = compat();
    const all = (flags & 2) !== 0;
    if (all && (iova !== 0n || size !== 0n)) throw new Failure('EINVAL');
    if (!all && !space.hugePages) {
      space.cut((iova + size) & UMAX);
      if (iova !== 0n) space.cut(iova);
    }
    written = 0n;
    if (!all && size === 0n) throw new Failure('EINVAL');
    const last = all ? UMAX : iova + size - 1n;
    if (last > UMAX) throw new Failure('EOVERFLOW');
    space.unmap(iova, last, (bytes) => {
      written += bytes;
    });
    return written;
  } catch (failure) {
    throw failure instanceof Failure ? new Failure(failure.errno, { size: written }) : failure;
  }
}

function info(argsz: number, { space, hwpts }: IoasObject): Out {
  let sizes = UMAX;
  for (const { domain } of hwpts) sizes &= domain.format.sizes.reduce((bits, size) => bits | size, 0n);
  const ranges = space.ranges();
  const total = 24 + 16 + 16 + 16 * ranges.length;
  const whole = new DataView(new ArrayBuffer(Math.max(total, argsz)));
  if (argsz >= 40) {
    whole.setUint16(24, 3, true);
    whole.setUint16(26, 1, true);
    whole.setUint32(28, 40, true);
    whole.setUint32(32, 0xffffffff, true);
  }
  if (argsz >= total) {
    whole.setUint16(40, 1, true);
    whole.setUint16(42, 1, true);
    whole.setUint32(48, ranges.length, true);
  }
  for (const [i, { start, last }] of ranges.entries()) {
    if (argsz < 56 + 16 * (i + 1)) break;
    whole.setBigUint64(56 + 16 * i, start, true);
    whole.setBigUint64(64 + 16 * i, last, true);
  }
  return {
    argsz: total,
    flags: 3,
    iova_pgsizes: sizes & ~(PAGE - 1n),
    ...(argsz >= 20 && { cap_offset: argsz >= total ? 24 : 0 }),
    ...(argsz > 24 && { data: new Uint8Array(whole.buffer.slice(24, Math.min(argsz, 1024))).toBase64() }),
  };
}
