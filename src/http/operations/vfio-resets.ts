/** Resets of VFIO devices, alone and with all that share their bus, and their features. */
import { z } from 'zod';
import { Base64, decodedLength, s32, strict } from '../schemas/values.ts';
import { type CallOperation, Nothing, operation } from './operation.ts';

const HOT_RESET_HEADER = 12;
/** Bytes of a function, and the most functions that a bus has. */
const HOT_RESET_DEVICE = 8;
const MOST_FUNCTIONS = 256;
const ALL_OWNED = 2;

const FEATURE_HEADER = 8;
const FEATURE_SET = 0x20000;

const address = { segment: z.int(), bus: z.int(), devfn: z.int() };

export const VFIO_RESET_OPERATIONS: readonly CallOperation[] = [
  operation({
    operationId: 'resetCdev',
    method: 'POST',
    path: 'cdevs/{fd}/reset',
    tag: 'VFIO',
    summary: 'Reset the device',
    description: 'Attachments stay.',
    call: 'ioctl',
    request: 'VFIO_DEVICE_RESET',
    body: Nothing,
    status: 204,
  }),
  operation({
    operationId: 'getHotReset',
    method: 'GET',
    path: 'cdevs/{fd}/hot-reset',
    tag: 'VFIO',
    summary: 'Which functions a hot reset resets',
    description: 'All that share the bus of the device. On a root bus there is no hot reset.',
    call: 'ioctl',
    request: 'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO',
    status: 200,
    arg: () => ({ argsz: HOT_RESET_HEADER + MOST_FUNCTIONS * HOT_RESET_DEVICE }),
    answer: {
      description:
        'The functions, and whether the iommufd owns all of them (never said of a device of a legacy group).',
      schema: strict({
        owned: z.boolean(),
        devices: z.array(
          strict({
            devid: z
              .int()
              .optional()
              .meta({ description: 'Of a cdev: its id in the iommufd; 0: owned without an id; -1: not owned.' }),
            group_id: z.int().optional().meta({ description: 'Of a device of a legacy group: its IOMMU group.' }),
            ...address,
          }),
        ),
      }).meta({ id: 'HotReset' }),
      example: { owned: true, devices: [{ devid: 1, segment: 0, bus: 1, devfn: 0 }] },
      from: ({ arg }) => ({ owned: (Number(arg?.flags) & ALL_OWNED) !== 0, devices: arg?.devices }),
    },
  }),
  operation({
    operationId: 'hotResetCdev',
    method: 'POST',
    path: 'cdevs/{fd}/hot-reset',
    tag: 'VFIO',
    summary: 'Reset all functions that share the bus of the device',
    description: 'Attachments stay.',
    call: 'ioctl',
    request: 'VFIO_DEVICE_PCI_HOT_RESET',
    body: strict({
      groups: z
        .array(s32())
        .max(MOST_FUNCTIONS)
        .meta({ description: 'Descriptors of the legacy groups of all functions; for a cdev none.' })
        .default([]),
    }).optional(),
    bodyExample: {},
    status: 204,
    arg: ({ body: { groups } = { groups: [] } }) => ({ count: groups.length, group_fds: groups }),
  }),
  operation({
    operationId: 'setCdevFeature',
    method: 'PUT',
    path: 'cdevs/{fd}/features/{feature}',
    tag: 'VFIO',
    summary: 'Set a feature of the device',
    description: '3 puts it into low power, 4 does so until something wakes it (an eventfd is told), 5 ends that.',
    call: 'ioctl',
    request: 'VFIO_DEVICE_FEATURE',
    body: strict({
      data: Base64.meta({ description: 'What the feature takes, as bytes.' }).default(''),
    }).optional(),
    bodyExample: {},
    status: 204,
    arg: ({ params: { feature }, body: { data } = { data: '' } }) => ({
      argsz: FEATURE_HEADER + decodedLength(data),
      flags: FEATURE_SET | feature,
      data,
    }),
  }),
];
