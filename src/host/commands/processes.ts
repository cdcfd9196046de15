/** Commands that make and kill processes, and their system calls. */
import { runCall } from '../../kernel/calls.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { CAPABILITIES, type Process } from '../../kernel/process.ts';
import { ok } from '../answers.ts';
import type { CallResult, CallsCommand } from '../command.ts';
import { processView } from '../queries/processes.ts';
import type { Family, Rows } from './row.ts';

export const PROCESSES: Rows<'calls' | Family<'process'>> = {
  calls: {
    needs: 'process',
    run(_host, command, process, kernel) {
      const results: CallResult[] = [];
      runCalls(kernel, process, command, results, () => false);
      return ok({ results });
    },
  },
  'process.create': {
    needs: 'kernel',
    run: (_host, { name = 'process', capabilities = CAPABILITIES }, kernel) =>
      ok(processView(kernel.createProcess(name, capabilities), kernel)),
  },
  'process.kill': {
    needs: 'process',
    run(_host, _command, process, kernel) {
      kernel.killProcess(process);
      return ok({});
    },
  },
};

/**
 * Goes on with the calls behind those that have results, and adds theirs. Returns whether all is done; it is not where
 * `isOver` says, behind a call that is not the last one, that it is time for something else.
 */
export function runCalls(
  kernel: Kernel,
  process: Process,
  { calls, stopOnError }: CallsCommand,
  results: CallResult[],
  isOver: () => boolean,
): boolean {
  while (results.length < calls.length) {
    const result = runCall(kernel, process, calls[results.length]!);
    results.push(result);
    if (stopOnError && result.ret === -1) return true;
    if (isOver()) return results.length === calls.length;
  }
  return true;
}
