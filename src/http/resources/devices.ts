/** PCI functions of a host: their state, drivers, DMA and resets, and plugging them in and out. */
import { z } from 'zod';
import type { DmaAccess } from '../../host/command.ts';
import { buildFunction } from '../../host/host-spec.ts';
import type { DeviceView } from '../../host/views.ts';
import { IRQ_TYPES } from '../../kernel/vfio/pci/irqs.ts';
import { UNHEARD } from '../../kernel/vfio/pci/raise.ts';
import { MAX_TRANSLATED } from '../../limits.ts';
import { hex } from '../../machine/address.ts';
import type { FunctionSpec } from '../../machine/spec.ts';
import { granted, listed, notFound, passed } from '../answers.ts';
import { PARAMETERS, paging, u64Text } from '../parameters.ts';
import { type Context, type Input, type OfHost, type Route, route } from '../route.ts';
import { DmaAnswer, DmaInput } from '../schemas/dma.ts';
import { DeviceInput } from '../schemas/host.ts';
import { inBase64, integer, name, strict, whole } from '../schemas/values.ts';
import { ConfigSpace, Device, DeviceList, TranslationRunList } from '../schemas/views.ts';
import { takeRoom } from '../serve-route.ts';
import { invalid } from '../validation.ts';

const DEVICE = '/v1/hosts/{host}/devices/{bdf}';
const tag = 'Devices';
const access = 'tenant';

const DEVICE_EXAMPLE = {
  bdf: '0000:01:00.0',
  name: 'Samsung NVMe SSD Controller PM981',
  vendor: '144d',
  device: 'a808',
  class: '0108',
  group: 0,
  iommu: 'dmar0',
  iommuKind: 'intel-vtd',
  driver: 'vfio-pci',
  unbinding: false,
  cdev: '/dev/vfio/devices/vfio0',
  owner: null,
  state: 'N',
  domain: { kind: 'default', id: 1, restored: false },
  preserved: false,
  liveupdate: null,
  interruptsEnabled: false,
  reset: true,
  canReset: true,
  resets: 0,
  sriov: 'none',
  physicalFunction: null,
  realDmaDevice: null,
};

/** MSI-X has up to 2048 vectors. */
const MAX_VECTOR = 2047;

const InterruptAnswer = strict({
  delivered: z.boolean().meta({ description: 'Whether an eventfd was signalled.' }),
  pending: z.boolean().meta({ description: 'Whether it is kept, and signalled as soon as it is unmasked.' }),
  reason: z
    .enum(UNHEARD)
    .nullable()
    .meta({
      description:
        'Why nobody was told: the function has no such vector; it is not enabled by SET_IRQS; the function sleeps, in D3hot or in low power; it may not master the bus, ' +
        'as messages do; it is masked; it is enabled without an eventfd.',
    }),
}).meta({ id: 'Interrupt' });

const CONFIG_EXAMPLE = {
  size: 256,
  data: Buffer.from('361b1000030110000202080100000000'.padEnd(512, '0'), 'hex').toString('base64'),
  bars: [{ index: 0, kind: 'mem64', prefetchable: false, address: '0xfe400000', size: '0x10000' }],
  capabilities: [
    { offset: 64, id: 1 },
    { offset: 176, id: 17, msixVectors: 33, tableBar: 0, tableOffset: 12288, pbaBar: 0, pbaOffset: 8192 },
  ],
  extendedCapabilities: [],
};

const deviceAnswer = { description: 'The device.', schema: Device, example: DEVICE_EXAMPLE };
const Driver = name('Such as vfio-pci, nvme, virtio-pci.');

export const RUN_EXAMPLE = {
  address: '0x100000000',
  length: '0x200000',
  physical: '0x10000000',
  readable: true,
  writeable: true,
};

/** What is described, on the host as it is. Throws a problem. */
async function functionOf(
  { lanes, directory, quotas }: Context,
  { host, body, tenant }: Input<string, unknown, z.output<typeof DeviceInput>>,
): Promise<FunctionSpec> {
  const functions = granted<DeviceView[]>(await lanes.query(host.id, { view: 'devices' }));
  quotas.checkSize(tenant, { functions: functions.length + 1, units: 0 });
  const origin = await directory.hosts.origin(host.id);
  if (origin === undefined || 'damaged' in origin) throw notFound('The host is being deleted.');
  const built = buildFunction(body, { iommus: origin.spec.machine.iommus, functions });
  if ('errors' in built) throw invalid(built.errors.map((error) => ({ in: 'body' as const, ...error })));
  return built.function;
}

export const DEVICE_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/hosts/{host}/devices',
    operationId: 'listDevices',
    tag,
    summary: 'List devices',
    description: 'By address.',
    access,
    query: strict(paging(PARAMETERS.bdf)),
    success: { 200: { description: 'A page of them.', schema: DeviceList, example: whole([DEVICE_EXAMPLE]) } },
    handle: async ({ lanes }, { host, query }) => passed(await lanes.query(host.id, { view: 'devices', ...query })),
  }),
  route({
    method: 'POST',
    path: '/v1/hosts/{host}/devices',
    operationId: 'addDevice',
    tag,
    summary: 'Plug a function in',
    description: 'It is alone in its group unless it names one. If its driver cannot be bound, it is not plugged in.',
    access,
    refusable: true,
    body: DeviceInput,
    bodyExample: { bdf: '0000:05:00.0', driver: 'vfio-pci' },
    success: {
      201: {
        ...deviceAnswer,
        location: ({ bdf }: DeviceView, { params: { host } }: OfHost) => `/v1/hosts/${host}/devices/${bdf}`,
      },
    },
    async handle(context, input) {
      const { lanes, before } = context;
      if (before !== undefined) return granted(before.answer);
      const device = await functionOf(context, input);
      return granted(await lanes.execute(input.host.id, { op: 'device.add', device }));
    },
  }),
  route({
    method: 'GET',
    path: DEVICE,
    operationId: 'getDevice',
    tag,
    summary: 'Read a device',
    description: 'Its driver, owner and domain, and where it stands in a live update.',
    access,
    success: { 200: deviceAnswer },
    handle: async ({ lanes }, { host, params: { bdf } }) =>
      granted(await lanes.query(host.id, { view: 'device', bdf })),
  }),
  route({
    method: 'GET',
    path: `${DEVICE}/config`,
    operationId: 'getDeviceConfig',
    tag,
    summary: 'Read the configuration space of a device',
    description:
      'The bytes are those of the hardware. A program that reads region 7 of its descriptor sees copies of some registers.',
    access,
    success: {
      200: {
        description: 'Its bytes, BARs and capabilities.',
        schema: ConfigSpace,
        example: CONFIG_EXAMPLE,
      },
    },
    handle: async ({ lanes }, { host, params: { bdf } }) =>
      granted(await lanes.query(host.id, { view: 'config', bdf })),
  }),
  route({
    method: 'PATCH',
    path: DEVICE,
    operationId: 'updateDevice',
    tag,
    summary: 'Change the state of a device',
    description:
      'A switch beside the interrupts that a program enables by VFIO_DEVICE_SET_IRQS, which should be used instead: while either ' +
      'is on the device cannot be frozen for a live update.',
    access,
    refusable: true,
    body: strict({
      interruptsEnabled: z.boolean().meta({
        deprecated: true,
        description: 'Whether the switch is on. Enable interrupts by VFIO_DEVICE_SET_IRQS.',
      }),
    }),
    bodyExample: { interruptsEnabled: true },
    success: { 200: deviceAnswer },
    handle: async ({ lanes }, { host, params: { bdf }, body }) =>
      granted(await lanes.execute(host.id, { op: 'device.update', bdf, ...body })),
  }),
  route({
    method: 'DELETE',
    path: DEVICE,
    operationId: 'removeDevice',
    tag,
    summary: 'Plug a function out',
    description:
      'The write to `remove` in sysfs: its driver is unbound first. Its DMA ends, and its path is not found then.',
    access,
    refusable: true,
    success: {
      204: { description: 'It is gone.' },
      202: {
        description:
          'The unbind of its driver waits for open descriptors; the device shows `unbinding`, works as before, and goes with the last of them.',
        schema: strict({ blocked: z.literal(true) }),
        example: { blocked: true },
      },
    },
    async handle({ lanes }, { host, params: { bdf } }, reply) {
      const { blocked } = granted<{ blocked?: true }>(await lanes.execute(host.id, { op: 'device.remove', bdf }));
      reply.code(blocked ? 202 : 204);
      return blocked && { blocked };
    },
  }),
  route({
    method: 'GET',
    path: `${DEVICE}/translation`,
    operationId: 'getTranslation',
    tag,
    summary: 'Where the DMA of a device goes',
    description: 'Runs of a range of IOVAs; what is not translated is left out.',
    access,
    query: strict({
      iova: u64Text('First IOVA.'),
      length: u64Text(`Bytes, at most ${MAX_TRANSLATED >> 30n} GiB.`, '0x200000').refine(
        (value) => BigInt(value) <= MAX_TRANSLATED,
        {
          error: `expected at most ${hex(MAX_TRANSLATED)} bytes (${MAX_TRANSLATED >> 30n} GiB): ask for one range after the other`,
        },
      ),
    }),
    success: { 200: { description: 'The runs.', schema: TranslationRunList, example: whole([RUN_EXAMPLE]) } },
    handle: async ({ lanes }, { host, params: { bdf }, query }) =>
      listed(await lanes.query(host.id, { view: 'translation', bdf, ...query })),
  }),
  route({
    method: 'PUT',
    path: `${DEVICE}/driver`,
    operationId: 'bindDriver',
    tag,
    summary: 'Bind a driver to a device',
    description:
      'driver_override, then the write to `bind` in sysfs. Any name is a driver; one that is known answers ENODEV for a function that it is not for.',
    access,
    refusable: true,
    body: strict({ driver: Driver }),
    bodyExample: { driver: 'vfio-pci' },
    success: { 200: deviceAnswer },
    handle: async ({ lanes }, { host, params: { bdf }, body }) =>
      granted(await lanes.execute(host.id, { op: 'driver.bind', bdf, driver: body.driver })),
  }),
  route({
    method: 'DELETE',
    path: `${DEVICE}/driver`,
    operationId: 'unbindDriver',
    tag,
    summary: 'Unbind the driver of a device',
    description: 'The write to `unbind` in sysfs.',
    access,
    refusable: true,
    query: strict({
      driver: Driver.meta({
        description: 'The driver; the one it is on if not given.',
        examples: ['vfio-pci'],
      }).optional(),
    }),
    success: {
      200: {
        description: 'It has no driver now.',
        schema: strict({ blocked: z.literal(false) }),
        example: { blocked: false },
      },
      202: {
        description: 'The write waits for open descriptors; the device shows `unbinding` until an event ends it.',
        schema: strict({ blocked: z.literal(true) }),
        example: { blocked: true },
      },
    },
    async handle({ lanes }, { host, params: { bdf }, query }, reply) {
      const answer = await lanes.execute(host.id, { op: 'driver.unbind', bdf, ...query });
      const { blocked } = granted<{ blocked: boolean }>(answer);
      if (blocked) reply.code(202);
      return { blocked };
    },
  }),
  route({
    method: 'POST',
    path: `${DEVICE}/dma`,
    operationId: 'doDma',
    tag,
    summary: 'Let a device read and write',
    description:
      'One access after the other, each translated by the page table that the device is on. A fault is an answer.',
    access,
    body: DmaInput,
    bodyExample: { accesses: [{ op: 'read', iova: '0x100000000', length: 5 }] },
    success: {
      200: {
        description: 'A result for each access.',
        schema: DmaAnswer,
        example: { results: [{ ok: true, data: 'SGVsbG8=' }] },
      },
    },
    async handle(context, { host, params: { bdf }, body }, reply) {
      const accesses: DmaAccess[] = body.accesses;
      const reads = accesses.reduce((sum, { op, length }) => sum + (op === 'read' ? length : 0), 0);
      takeRoom(context, reply, inBase64(reads));
      return passed(await context.lanes.execute(host.id, { op: 'device.dma', bdf, accesses }));
    },
  }),
  route({
    method: 'POST',
    path: `${DEVICE}/interrupts`,
    operationId: 'raiseInterrupt',
    tag,
    summary: 'Let a device raise an interrupt',
    description:
      'It arrives at the eventfd that VFIO_DEVICE_SET_IRQS has given it. That nobody is told is an answer. A write of the device ' +
      'to the message that the kernel has given a vector of MSI or MSI-X does the same.',
    access,
    body: strict({
      type: z.enum(IRQ_TYPES).meta({ description: 'What kind of interrupt.' }),
      vector: integer(0, MAX_VECTOR)
        .meta({ description: 'Number of the vector; 0, the one of INTx, if absent.' })
        .optional(),
    }).meta({ id: 'InterruptInput' }),
    bodyExample: { type: 'msix', vector: 1 },
    success: {
      200: {
        description: 'What has become of it.',
        schema: InterruptAnswer,
        example: { delivered: true, pending: false, reason: null },
      },
    },
    handle: async ({ lanes }, { host, params: { bdf }, body: { type, vector = 0 } }) =>
      granted(await lanes.execute(host.id, { op: 'device.interrupt', bdf, type, vector })),
  }),
  route({
    method: 'POST',
    path: `${DEVICE}/flr`,
    operationId: 'resetDevice',
    tag,
    summary: 'Reset a function',
    description:
      'The write to `reset` in sysfs, which is not there (ENOENT) for what cannot be reset. Domain and owner stay.',
    access,
    refusable: true,
    body: strict({}).optional(),
    success: { 200: deviceAnswer },
    handle: async ({ lanes }, { host, params: { bdf } }) =>
      granted(await lanes.execute(host.id, { op: 'device.flr', bdf })),
  }),
];
