/**
 * A `calls` command at work. Whoever runs the host may do something else between two calls, but nothing with this host: it
 * is one command, with one tick of the clock, and what it told is told at its end.
 */
import type { Kernel } from '../kernel/kernel.ts';
import type { Process } from '../kernel/process.ts';
import { notFound, ok } from './answers.ts';
import type { Answer, CallResult, CallsCommand, Execution } from './command.ts';
import { runCalls } from './commands/processes.ts';
import type { Host } from './host.ts';
import { sizeOfResult } from './result-size.ts';

export class Calls {
  private readonly _host: Host;
  private readonly _command: CallsCommand;
  private readonly _results: CallResult[] = [];
  private _counted = 0;
  private _size = 0;
  private readonly _found: { kernel: Kernel; process: Process } | Answer;

  /** The command begins. */
  constructor(host: Host, command: CallsCommand) {
    this._host = host;
    this._command = command;
    host.begin();
    this._found = this._find();
  }

  /** About how many characters the results so far have as JSON. */
  get answerSize(): number {
    for (; this._counted < this._results.length; this._counted++)
      this._size += sizeOfResult(this._results[this._counted]!);
    return this._size;
  }

  /** Goes on until the command is done, or, behind any of its calls, `isOver` says so: then null. */
  step(isOver: () => boolean): Execution | null {
    if ('kind' in this._found) return this._host.end(this._found);
    const { kernel, process } = this._found;
    const isDone = runCalls(kernel, process, this._command, this._results, isOver);
    return isDone ? this._host.end(ok({ results: this._results })) : null;
  }

  private _find(): { kernel: Kernel; process: Process } | Answer {
    const { kernel } = this._host;
    if (!kernel) return this._host.withoutKernel();
    const { pid } = this._command;
    const process = kernel.processes.get(pid);
    return process ? { kernel, process } : notFound(`process ${pid}`);
  }
}
