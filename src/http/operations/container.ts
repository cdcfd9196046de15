/** The container requests of VFIO, which an iommufd takes from programs that know no others. */
import { z } from 'zod';
import { booleanText, u64Text } from '../parameters.ts';
import { Base64, Hex64, strict, U64, u32 } from '../schemas/values.ts';
import { bit, type CallOperation, operation } from './operation.ts';

const DMA_READ = 1;
const DMA_WRITE = 2;
const UNMAP_ALL = 2;
/** Bytes of the struct; `argsz` with room for all capabilities. */
const INFO_SIZE = 24;
const INFO_ROOM = 1024;

/** The bytes behind the struct that the kernel has written, in base64. */
function capabilities(data: unknown, argsz: unknown): string {
  return Buffer.from(String(data ?? ''), 'base64')
    .subarray(0, Number(argsz) - INFO_SIZE)
    .toString('base64');
}

export const CONTAINER_OPERATIONS: readonly CallOperation[] = [
  operation({
    operationId: 'getContainerVersion',
    method: 'GET',
    path: 'iommufds/{fd}/container/version',
    tag: 'VFIO',
    summary: 'The version of the VFIO interface',
    call: 'ioctl',
    request: 'VFIO_GET_API_VERSION',
    status: 200,
    answer: {
      description: 'The version.',
      schema: strict({ version: z.int() }).meta({ id: 'ContainerVersion' }),
      example: { version: 0 },
      from: ({ ret }) => ({ version: ret }),
    },
  }),
  operation({
    operationId: 'checkExtension',
    method: 'GET',
    path: 'iommufds/{fd}/container/extensions/{extension}',
    tag: 'VFIO',
    summary: 'Whether an extension of VFIO is there',
    call: 'ioctl',
    request: 'VFIO_CHECK_EXTENSION',
    status: 200,
    arg: ({ params }) => ({ extension: params.extension }),
    answer: {
      description: '0: no, 1: yes; some extensions answer other numbers.',
      schema: strict({ value: z.int() }).meta({ id: 'ExtensionValue' }),
      example: { value: 1 },
      from: ({ ret }) => ({ value: ret }),
    },
  }),
  operation({
    operationId: 'setContainerIommu',
    method: 'PUT',
    path: 'iommufds/{fd}/container/iommu',
    tag: 'VFIO',
    summary: 'Choose the kind of container',
    call: 'ioctl',
    request: 'VFIO_SET_IOMMU',
    body: strict({ type: u32().meta({ description: '1: TYPE1, 3: TYPE1v2.' }) }),
    bodyExample: { type: 3 },
    status: 204,
    arg: ({ body }) => ({ type: body.type }),
  }),
  operation({
    operationId: 'getContainer',
    method: 'GET',
    path: 'iommufds/{fd}/container',
    tag: 'VFIO',
    summary: 'Page sizes and capabilities of the container',
    call: 'ioctl',
    request: 'VFIO_IOMMU_GET_INFO',
    status: 200,
    arg: () => ({ argsz: INFO_ROOM }),
    answer: {
      description: 'What VFIO_IOMMU_GET_INFO writes.',
      schema: strict({
        flags: z.int(),
        pageSizes: Hex64.meta({ description: 'A bit for each page size.' }),
        capabilitiesOffset: z.int().meta({ description: 'Where the chain begins, counted from the struct.' }),
        capabilities: Base64.meta({ description: `What lies behind the ${INFO_SIZE} bytes of the struct.` }),
      }).meta({ id: 'Container' }),
      example: { flags: 3, pageSizes: '0x40201000', capabilitiesOffset: 24, capabilities: '' },
      from: ({ arg }) => ({
        flags: arg?.flags,
        pageSizes: arg?.iova_pgsizes,
        capabilitiesOffset: arg?.cap_offset,
        capabilities: capabilities(arg?.data, arg?.argsz),
      }),
    },
  }),
  operation({
    operationId: 'mapContainerMemory',
    method: 'POST',
    path: 'iommufds/{fd}/container/mappings',
    tag: 'VFIO',
    summary: 'Map memory of the process by the container',
    call: 'ioctl',
    request: 'VFIO_IOMMU_MAP_DMA',
    body: strict({
      address: U64.meta({ description: 'Address in the process.' }),
      iova: U64,
      length: U64.meta({ description: 'Bytes.' }),
      readable: z.boolean().meta({ description: 'Whether devices may read.' }).default(true),
      writeable: z.boolean().meta({ description: 'Whether devices may write.' }).default(true),
    }),
    bodyExample: { address: '0x7f0000000000', iova: '0x100000000', length: '0x200000' },
    status: 204,
    arg: ({ body }) => ({
      flags: bit(body.readable, DMA_READ) | bit(body.writeable, DMA_WRITE),
      vaddr: body.address,
      iova: body.iova,
      size: body.length,
    }),
  }),
  operation({
    operationId: 'unmapContainerMemory',
    method: 'DELETE',
    path: 'iommufds/{fd}/container/mappings',
    tag: 'VFIO',
    summary: 'Unmap by the container',
    call: 'ioctl',
    request: 'VFIO_IOMMU_UNMAP_DMA',
    query: strict({
      iova: u64Text('First IOVA.').default('0x0'),
      length: u64Text('Bytes.', '0x200000').default('0x0'),
      all: booleanText('Unmap everything; the range is left out then.').default(false),
    }),
    status: 200,
    arg: ({ query }) => ({ flags: bit(query.all, UNMAP_ALL), iova: query.iova, size: query.length }),
    answer: {
      description: 'How much was unmapped.',
      schema: strict({ length: Hex64 }).meta({ id: 'ContainerUnmappedLength' }),
      example: { length: '0x200000' },
      from: ({ arg }) => ({ length: arg?.size }),
    },
  }),
];
