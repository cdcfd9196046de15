/** Commands that make and kill processes, and their system calls. */
import { runCall } from '../../kernel/calls.ts';
import { CAPABILITIES } from '../../kernel/process.ts';
import { ok } from '../answers.ts';
import { processView } from '../queries/processes.ts';
import type { Family, Rows } from './row.ts';

export const PROCESSES: Rows<'calls' | Family<'process'>> = {
  calls: {
    needs: 'process',
    run(_host, { calls, stopOnError }, process, kernel) {
      const results = [];
      for (const call of calls) {
        const result = runCall(kernel, process, call);
        results.push(result);
        if (stopOnError && result.ret === -1) break;
      }
      return ok({ results });
    },
  },
  'process.create': {
    needs: 'kernel',
    run: (_host, { name = 'process', capabilities = CAPABILITIES }, kernel) =>
      ok(processView(kernel.createProcess(name, capabilities))),
  },
  'process.kill': {
    needs: 'process',
    run(_host, _command, process, kernel) {
      kernel.killProcess(process);
      return ok({});
    },
  },
};
