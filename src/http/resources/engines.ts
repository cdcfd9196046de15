/** Engines of devices: DMA that goes on by itself, through kexecs, and what has become of it. */
import { z } from 'zod';
import { MAX_ENGINE_PAGES, MAX_ENGINES } from '../../limits.ts';
import { granted, listed } from '../answers.ts';
import { type OfHost, type Route, route } from '../route.ts';
import { expected, hexOf, strict, whole } from '../schemas/values.ts';
import { Engine, EngineList } from '../schemas/views.ts';

const ENGINES = '/v1/hosts/{host}/devices/{bdf}/engines';
const tag = 'Devices';
const access = 'tenant';

const EXAMPLE = {
  id: 1,
  bdf: '0000:01:00.0',
  access: 'both',
  ranges: [{ iova: '0x100000000', length: '0x4000000' }],
  bytesPerSecond: '1073741824',
  since: '20000',
  until: '1000050000',
  stopped: null,
  pages: 16384,
  continuousPages: 16384,
  continuous: true,
  accesses: '262151',
  refused: '0',
  gaps: [],
  moved: [],
  freed: [],
  reused: [],
};

const RATE_RULE = expected(
  'bytes in a second of simulated time: a whole number from 4096 to 2^50, as it is or as text',
);
const Rate = z
  .union([z.string().regex(/^\d{1,16}$/, { error: RATE_RULE }), z.int({ error: RATE_RULE })], { error: RATE_RULE })
  .refine((value) => BigInt(value) >= 4096n && BigInt(value) <= 2n ** 50n, { error: RATE_RULE })
  .transform(String)
  .meta({ description: 'Bytes in a second of simulated time, from 4096 on; 1 GiB if not given.' });

/** A GiB in a second. */
const USUAL_RATE = String(2 ** 30);

export const ENGINE_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/hosts/{host}/engines',
    operationId: 'listHostEngines',
    tag,
    summary: 'List the engines of all devices',
    description:
      'Those that run and those that have ended, of functions that are gone, too, with what has become of their DMA.',
    access,
    success: { 200: { description: 'All of them.', schema: EngineList, example: whole([EXAMPLE]) } },
    handle: async ({ lanes }, { host }) => listed(await lanes.query(host.id, { view: 'host-engines' })),
  }),
  route({
    method: 'GET',
    path: ENGINES,
    operationId: 'listEngines',
    tag,
    summary: 'List the engines of a device',
    description: 'Those that run and those that have ended, with what has become of their DMA.',
    access,
    success: { 200: { description: 'All of them.', schema: EngineList, example: whole([EXAMPLE]) } },
    handle: async ({ lanes }, { host, params: { bdf } }) =>
      listed(await lanes.query(host.id, { view: 'engines', bdf })),
  }),
  route({
    method: 'POST',
    path: ENGINES,
    operationId: 'startEngine',
    tag,
    summary: 'Let a device do DMA all the time',
    description: `From now on, through kexecs, the device goes over these ranges again and again, page after page, in simulated time: nothing is stepped, and what became of its accesses can be read at any time. A page is continuous if it was reached at any time and has led to the same memory all the time. What it writes are records of 32 bytes, each of its own IOVA, the id of the engine, the number of the round and the simulated time in nanoseconds, as numbers of 64 bits, little endian. The engine ends with a reset of the device, its removal, a power cycle, or by DELETE. A host has at most ${MAX_ENGINES}, over ${MAX_ENGINE_PAGES} pages in all.`,
    access,
    refusable: true,
    body: strict({
      access: z
        .enum(['read', 'write', 'both'])
        .meta({ description: 'What it does to each page; both if not given.' })
        .optional(),
      ranges: z
        .array(strict({ iova: hexOf('First IOVA, of a page.'), length: hexOf('Bytes, whole pages.') }))
        .min(1)
        .max(256)
        .meta({ description: 'Ascending, and without overlap.' }),
      bytesPerSecond: Rate.optional(),
    }).meta({ id: 'EngineInput' }),
    bodyExample: { ranges: [{ iova: '0x100000000', length: '0x4000000' }] },
    success: {
      201: {
        description: 'It runs.',
        schema: Engine,
        example: { ...EXAMPLE, until: '20000', accesses: '0' },
        location: ({ id, bdf }: { id: number; bdf: string }, { params: { host } }: OfHost) =>
          `/v1/hosts/${host}/devices/${bdf}/engines/${id}`,
      },
    },
    handle: async ({ lanes }, { host, params: { bdf }, body }) => {
      const { access = 'both', ranges, bytesPerSecond = USUAL_RATE } = body;
      return granted(await lanes.execute(host.id, { op: 'engine.start', bdf, access, ranges, bytesPerSecond }));
    },
  }),
  route({
    method: 'GET',
    path: `${ENGINES}/{engine}`,
    operationId: 'getEngine',
    tag,
    summary: 'What has become of the DMA of an engine',
    description: 'Which pages it reached all the time, which led to other memory, and when.',
    access,
    success: { 200: { description: 'Up to now.', schema: Engine, example: EXAMPLE } },
    handle: async ({ lanes }, { host, params: { bdf, engine: id } }) =>
      granted(await lanes.query(host.id, { view: 'engine', bdf, id })),
  }),
  route({
    method: 'DELETE',
    path: `${ENGINES}/{engine}`,
    operationId: 'stopEngine',
    tag,
    summary: 'End an engine',
    description: 'What has become of its DMA is in the answer, and is forgotten then.',
    access,
    refusable: true,
    frees: 'everything',
    success: { 200: { description: 'Up to its end.', schema: Engine, example: { ...EXAMPLE, stopped: 'asked' } } },
    handle: async ({ lanes }, { host, params: { bdf, engine: id } }) =>
      granted(await lanes.execute(host.id, { op: 'engine.stop', bdf, id })),
  }),
];
