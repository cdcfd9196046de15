/** A query as a row of a table: what it needs, and its answer. */
import type { IommufdContext } from '../../kernel/iommufd/context.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Process } from '../../kernel/process.ts';
import type { PciFunction } from '../../machine/pci/function.ts';
import type { Answer, HostQuery } from '../command.ts';
import type { Host } from '../host.ts';

/** What a query finds; where that may be very much, in steps, between which nothing may happen to the host. */
export type Found = Answer | Generator<void, Answer>;

/** What there is behind so many items is found in another step. */
export const STEP = 256;

/** `needs`: what the query names. The answer is `not-found` if it is not there, or if no kernel runs. */
export type Row<Of> =
  | { needs: 'host'; answer: (host: Host, query: Of) => Found }
  | (Of extends { bdf: string }
      ? { needs: 'function'; answer: (host: Host, query: Of, fn: PciFunction) => Found }
      : never)
  | (Of extends { pid: number }
      ? { needs: 'process'; answer: (process: Process, query: Of, kernel: Kernel) => Found }
      : never)
  | (Of extends { pid: number; fd: number }
      ? { needs: 'iommufd'; answer: (context: IommufdContext, query: Of) => Found }
      : never);

export type View = HostQuery['view'];

/** The rows of some queries: every one of them, and no other. */
export type Rows<Some extends View> = { readonly [One in Some]: Row<Extract<HostQuery, { view: One }>> };
