/** A `device.dma` command at work: as with calls, whoever runs the host may do something else between two accesses. */
import type { PciFunction } from '../machine/pci/function.ts';
import { notFound, ok } from './answers.ts';
import type { DmaCommand, DmaResult, Execution } from './command.ts';
import { dma } from './commands/devices.ts';
import type { Host } from './host.ts';

export class Accesses {
  private readonly _host: Host;
  private readonly _command: DmaCommand;
  private readonly _fn: PciFunction | undefined;
  private readonly _results: DmaResult[] = [];
  private _size = 0;

  /** The command begins. */
  constructor(host: Host, command: DmaCommand) {
    this._host = host;
    this._command = command;
    host.begin();
    this._fn = host.machine.functions.get(command.bdf);
  }

  /** About how many characters the results so far have as JSON. */
  get answerSize(): number {
    return this._size;
  }

  /** Goes on until the command is done, or, behind any of its accesses, `isOver` says so: then null. */
  step(isOver: () => boolean): Execution | null {
    const { bdf, accesses } = this._command;
    if (!this._fn) return this._host.end(notFound(`device ${bdf}`));
    while (this._results.length < accesses.length) {
      const result = dma(this._host, this._fn, accesses[this._results.length]!);
      this._results.push(result);
      this._size += RESULT + (result.ok ? (result.data?.length ?? 0) : RESULT);
      if (isOver() && this._results.length < accesses.length) return null;
    }
    return this._host.end(ok({ results: this._results }));
  }
}

/** Besides data. */
const RESULT = 64;
