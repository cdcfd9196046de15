/** A command as a row of a table: what it needs of the host, and what it does there. */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Process } from '../../kernel/process.ts';
import type { PciFunction } from '../../machine/pci/function.ts';
import type { Answer, Command } from '../command.ts';
import type { Host } from '../host.ts';

/**
 * `needs`: what has to be there before the command runs. Without a running kernel the answer is EIO, without the
 * function or process that the command names it is `not-found`. Commands that need only the machine run between freeze
 * and boot and after a panic, too.
 */
export type Row<Of> =
  | { needs: 'machine'; run: (host: Host, command: Of) => Answer }
  | { needs: 'kernel'; run: (host: Host, command: Of, kernel: Kernel) => Answer }
  | (Of extends { bdf: string } ? OnFunction<Of> : never)
  | (Of extends { pid: number } ? OnProcess<Of> : never);

type OnFunction<Of> =
  | { needs: 'function'; run: (host: Host, command: Of, fn: PciFunction) => Answer }
  | { needs: 'kernel and function'; run: (host: Host, command: Of, fn: PciFunction, kernel: Kernel) => Answer };

interface OnProcess<Of> {
  needs: 'process';
  run: (host: Host, command: Of, process: Process, kernel: Kernel) => Answer;
}

export type Op = Command['op'];

/** The rows of some commands: every one of them, and no other. */
export type Rows<Some extends Op> = { readonly [One in Some]: Row<Extract<Command, { op: One }>> };

/** The commands whose names begin with a prefix and a dot. */
export type Family<Prefix extends string> = Extract<Op, `${Prefix}.${string}`>;
