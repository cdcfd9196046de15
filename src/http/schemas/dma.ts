/** DMA of a function: accesses in, data and faults out. */
import { z } from 'zod';
import { MAX_DMA_ACCESSES, MAX_DMA_BYTES, MAX_TRANSFER } from '../../limits.ts';
import { FAULT_REASONS } from '../../machine/iommu-unit.ts';
import { Base64, Bdf, byteCount, decodedLength, Hex64, hexOf, strict, told } from './values.ts';

const where = {
  iova: hexOf('First IOVA.'),
  length: byteCount(MAX_TRANSFER, `Bytes, at most ${MAX_TRANSFER >> 20} MiB.`),
};

const Read = strict({ op: z.literal('read'), ...where }).meta({ id: 'DmaRead' });

const Write = strict({
  op: z.literal('write'),
  ...where,
  data: Base64.meta({ description: 'As many bytes as `length` says; zeroes if not given.' }).optional(),
})
  .refine(({ data, length }) => data === undefined || decodedLength(data) === length, {
    path: ['data'],
    error: 'expected as many bytes as length says',
  })
  .meta({ id: 'DmaWrite' });

export const DmaInput = strict({
  accesses: z
    .array(z.discriminatedUnion('op', [Read, Write], { error: told('op', 'one of read, write') }))
    .max(MAX_DMA_ACCESSES)
    .refine((accesses) => accesses.reduce((sum, { length }) => sum + length, 0) <= MAX_DMA_BYTES, {
      error: `at most ${MAX_DMA_BYTES} bytes in a request`,
    }),
}).meta({ id: 'DmaInput' });

const DmaFaultReason = z
  .enum(FAULT_REASONS)
  .meta({ id: 'DmaFaultReason', description: 'Why the IOMMU refuses an access.' });

const DmaFault = strict({
  reason: DmaFaultReason,
  op: z.enum(['read', 'write']),
  iova: Hex64,
  bdf: Bdf,
}).meta({ id: 'DmaFault' });

const DmaResult = z
  .union([
    strict({ ok: z.literal(true), data: Base64.optional() }).meta({ id: 'DmaDone' }),
    strict({ ok: z.literal(false), fault: DmaFault }).meta({ id: 'DmaRefused' }),
  ])
  .meta({ id: 'DmaResult' });

export const DmaAnswer = strict({ results: z.array(DmaResult) }).meta({ id: 'DmaAnswer' });
