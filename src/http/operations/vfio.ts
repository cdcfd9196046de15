/** VFIO devices: by cdev, and by legacy group. */
import { z } from 'zod';
import { REGION_INFO_FLAGS } from '../../kernel/uapi/bits.ts';
import { id } from '../parameters.ts';
import { bdfText, Hex64, strict, u32 } from '../schemas/values.ts';
import { type CallOperation, descriptorAnswer, descriptorIn, fdField, operation } from './operation.ts';

const PASID = 1;
/** Sizes of the structs where they end behind `pasid`. */
const ATTACH_SIZE = 16;
const DETACH_SIZE = 12;

/** For the struct and all capabilities. */
const REGION_ROOM = 256;

const DEVICE_CAN_RESET = 1;
const DEVICE_PCI = 2;
const GROUP_VIABLE = 1;
const GROUP_CONTAINER_SET = 2;

const isSet = (flags: unknown, mask: number): boolean => (Number(flags) & mask) !== 0;

export const VFIO_OPERATIONS: readonly CallOperation[] = [
  operation({
    operationId: 'getCdev',
    method: 'GET',
    path: 'cdevs/{fd}',
    tag: 'VFIO',
    summary: 'What the device is and has',
    call: 'ioctl',
    request: 'VFIO_DEVICE_GET_INFO',
    status: 200,
    answer: {
      description: 'What VFIO_DEVICE_GET_INFO writes.',
      schema: strict({ canReset: z.boolean(), pci: z.boolean(), regions: z.int(), irqs: z.int() }).meta({
        id: 'CdevInfo',
      }),
      example: { canReset: true, pci: true, regions: 9, irqs: 5 },
      from: ({ arg }) => ({
        canReset: isSet(arg?.flags, DEVICE_CAN_RESET),
        pci: isSet(arg?.flags, DEVICE_PCI),
        regions: arg?.num_regions,
        irqs: arg?.num_irqs,
      }),
    },
  }),
  operation({
    operationId: 'getCdevRegion',
    method: 'GET',
    path: 'cdevs/{fd}/regions/{region}',
    tag: 'VFIO',
    summary: 'What a region of the device is',
    description: 'Its bytes are read and written by `pread` and `pwrite`, and mapped by `mmap`, from `offset` on.',
    call: 'ioctl',
    request: 'VFIO_DEVICE_GET_REGION_INFO',
    status: 200,
    arg: ({ params: { region } }) => ({ argsz: REGION_ROOM, index: region }),
    answer: {
      description: 'What VFIO_DEVICE_GET_REGION_INFO writes.',
      schema: strict({
        size: Hex64,
        offset: Hex64,
        readable: z.boolean(),
        writeable: z.boolean(),
        mappable: z.boolean(),
        msixMappable: z.boolean().meta({ description: 'It holds the table of MSI-X, and can be mapped with it.' }),
      }).meta({ id: 'CdevRegion' }),
      example: {
        size: '0x4000',
        offset: '0x0',
        readable: true,
        writeable: true,
        mappable: true,
        msixMappable: true,
      },
      from: ({ arg }) => ({
        size: arg?.size,
        offset: arg?.offset,
        readable: isSet(arg?.flags, REGION_INFO_FLAGS.VFIO_REGION_INFO_FLAG_READ),
        writeable: isSet(arg?.flags, REGION_INFO_FLAGS.VFIO_REGION_INFO_FLAG_WRITE),
        mappable: isSet(arg?.flags, REGION_INFO_FLAGS.VFIO_REGION_INFO_FLAG_MMAP),
        msixMappable: isSet(arg?.flags, REGION_INFO_FLAGS.VFIO_REGION_INFO_FLAG_CAPS),
      }),
    },
  }),
  operation({
    operationId: 'bindCdev',
    method: 'PUT',
    path: 'cdevs/{fd}/iommufd',
    tag: 'VFIO',
    summary: 'Bind the device to an iommufd',
    description: 'The iommufd becomes the owner of its DMA.',
    call: 'ioctl',
    request: 'VFIO_DEVICE_BIND_IOMMUFD',
    body: strict({ iommufd: fdField('Descriptor of the iommufd.') }),
    bodyExample: { iommufd: 3 },
    status: 200,
    arg: ({ body }) => ({ iommufd: body.iommufd }),
    answer: {
      description: 'The id of the device in the iommufd.',
      schema: strict({ device: z.int() }).meta({ id: 'BoundDevice' }),
      example: { device: 1 },
      from: ({ arg }) => ({ device: arg?.out_devid }),
    },
  }),
  operation({
    operationId: 'attachCdev',
    method: 'PUT',
    path: 'cdevs/{fd}/attachment',
    tag: 'VFIO',
    summary: 'Attach the device to an IOAS or HWPT, or move it there',
    call: 'ioctl',
    request: 'VFIO_DEVICE_ATTACH_IOMMUFD_PT',
    body: strict({
      pageTable: u32().meta({ description: 'Id of the IOAS or HWPT.' }),
      pasid: u32().meta({ description: 'Attach this PASID of the device alone.' }).optional(),
    }),
    bodyExample: { pageTable: 3 },
    status: 200,
    arg: ({ body: { pageTable, pasid } }) => ({
      pt_id: pageTable,
      ...(pasid !== undefined && { flags: PASID, pasid, size: ATTACH_SIZE }),
    }),
    answer: {
      description: 'The id of the HWPT that it is on.',
      schema: strict({ hwpt: z.int() }).meta({ id: 'Attachment' }),
      example: { hwpt: 3 },
      from: ({ arg }) => ({ hwpt: arg?.pt_id }),
    },
  }),
  operation({
    operationId: 'detachCdev',
    method: 'DELETE',
    path: 'cdevs/{fd}/attachment',
    tag: 'VFIO',
    summary: 'Detach the device',
    description: 'Its DMA is blocked then.',
    call: 'ioctl',
    request: 'VFIO_DEVICE_DETACH_IOMMUFD_PT',
    query: strict({ pasid: id('Detach this PASID of the device alone.').optional() }),
    status: 204,
    arg: ({ query: { pasid } }) => (pasid === undefined ? {} : { flags: PASID, pasid, size: DETACH_SIZE }),
  }),
  operation({
    operationId: 'getVfioGroup',
    method: 'GET',
    path: 'vfio-groups/{fd}',
    tag: 'VFIO',
    summary: 'Whether the group is viable and has a container',
    call: 'ioctl',
    request: 'VFIO_GROUP_GET_STATUS',
    status: 200,
    answer: {
      description: 'Its status.',
      schema: strict({ viable: z.boolean(), containerSet: z.boolean() }).meta({ id: 'VfioGroupStatus' }),
      example: { viable: true, containerSet: false },
      from: ({ arg }) => ({
        viable: isSet(arg?.flags, GROUP_VIABLE),
        containerSet: isSet(arg?.flags, GROUP_CONTAINER_SET),
      }),
    },
  }),
  operation({
    operationId: 'setGroupContainer',
    method: 'PUT',
    path: 'vfio-groups/{fd}/container',
    tag: 'VFIO',
    summary: 'Put the group into a container',
    call: 'ioctl',
    request: 'VFIO_GROUP_SET_CONTAINER',
    body: strict({ container: fdField('Descriptor of the iommufd that serves as container.') }),
    bodyExample: { container: 3 },
    status: 204,
    arg: ({ body }) => ({ container: body.container }),
  }),
  operation({
    operationId: 'unsetGroupContainer',
    method: 'DELETE',
    path: 'vfio-groups/{fd}/container',
    tag: 'VFIO',
    summary: 'Take the group out of its container',
    call: 'ioctl',
    request: 'VFIO_GROUP_UNSET_CONTAINER',
    status: 204,
  }),
  operation({
    operationId: 'openGroupDevice',
    method: 'POST',
    path: 'vfio-groups/{fd}/devices',
    tag: 'VFIO',
    summary: 'Open a device of the group',
    description: 'It is bound and attached then.',
    call: 'ioctl',
    request: 'VFIO_GROUP_GET_DEVICE_FD',
    body: strict({ bdf: bdfText('Address of the function.', 63) }),
    bodyExample: { bdf: '0000:01:00.0' },
    status: 201,
    arg: ({ body }) => ({ name: body.bdf }),
    answer: descriptorAnswer('A descriptor of the device.'),
    made: descriptorIn('cdevs'),
  }),
];
