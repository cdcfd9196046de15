/** A host's state as this version knows it. */
import { BLOCKED, DEFAULT, IDENTITY } from '../../kernel/iommu/domain.ts';
import { IOMMUFD_HANDLER } from '../../kernel/iommu/liveupdate/iommufd.ts';
import { MEMFD_HANDLER } from '../../kernel/mm/memfd-luo.ts';
import { VFIO_HANDLER } from '../../kernel/vfio/vfio-luo.ts';
import { CLASSES } from './classes.ts';
import { StateCodec } from './codec.ts';
import { SHAPES } from './shapes.ts';

/** Objects that live once in a program. */
const CONSTANTS = { BLOCKED, DEFAULT, IDENTITY, IOMMUFD_HANDLER, MEMFD_HANDLER, VFIO_HANDLER };

export const CODEC = new StateCodec(SHAPES, CLASSES, CONSTANTS);
