/** What is behind the base address registers of a device. */
import { z } from 'zod';
import { MAX_TRANSFER } from '../../limits.ts';
import { granted } from '../answers.ts';
import { u64Text } from '../parameters.ts';
import { type Route, route } from '../route.ts';
import { Base64, decodedLength, strict } from '../schemas/values.ts';

const BAR = '/v1/hosts/{host}/devices/{bdf}/bars/{bar}';
const tag = 'Devices';
const access = 'tenant';
const MOST = `at most ${MAX_TRANSFER >> 20} MiB`;

const offset = u64Text('First byte of the BAR.', '0x0').default('0x0');
const count = z.int().meta({ description: 'How many bytes: those behind the end are cut off.' });

export const BAR_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: BAR,
    operationId: 'readBar',
    tag,
    summary: 'Read what is behind a BAR',
    description:
      'As the device itself sees it, whatever its command register says: what programs and the device have stored since the last reset, zeros before. The vectors in a table of MSI-X are masked then.',
    access,
    refusable: true,
    query: strict({
      offset,
      length: u64Text(`Bytes, ${MOST}.`, '4096')
        .refine((value) => BigInt(value) <= MAX_TRANSFER, { error: `expected ${MOST}` })
        .transform(Number),
    }),
    success: {
      200: {
        description: 'The bytes.',
        schema: strict({ data: Base64, count }).meta({ id: 'BarData' }),
        example: { data: 'SGVsbG8=', count: 5 },
      },
    },
    handle: async ({ lanes }, { host, params: { bdf, bar }, query }) =>
      granted(await lanes.query(host.id, { view: 'bar', bdf, bar, ...query })),
  }),
  route({
    method: 'PUT',
    path: BAR,
    operationId: 'writeBar',
    tag,
    summary: 'Let a device write behind a BAR',
    description:
      'The device itself changes what programs read there, such as a register of its state; its expansion ROM (6) it cannot change.',
    access,
    refusable: true,
    query: strict({ offset }),
    body: strict({
      data: Base64.refine((data) => decodedLength(data) <= MAX_TRANSFER, { error: `expected ${MOST}` }),
    }),
    bodyExample: { data: 'SGVsbG8=' },
    success: {
      200: {
        description: 'How much was written.',
        schema: strict({ count }),
        example: { count: 5 },
      },
    },
    handle: async ({ lanes }, { host, params: { bdf, bar }, query, body }) =>
      granted(await lanes.execute(host.id, { op: 'device.bar', bdf, bar, ...query, ...body })),
  }),
];
