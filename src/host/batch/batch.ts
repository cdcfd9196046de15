/**
 * A batch of maps and unmaps of one IOAS: one command, which may be large. It is read and executed in steps, so that
 * whoever runs the host can do something else in between, but nothing with this host.
 */
import { Refusal, refuse } from '../../kernel/errno.ts';
import { ioctl } from '../../kernel/ioctl.ts';
import { IommufdContext } from '../../kernel/iommufd/context.ts';
import { Ioas, lookupIoas } from '../../kernel/iommufd/ioas.ts';
import type { Process } from '../../kernel/process.ts';
import { refused } from '../answers.ts';
import type { Answer, BatchCommand, EmittedEvent } from '../command.ts';
import type { Host } from '../host.ts';
import { orderByIova } from './by-iova.ts';
import { type Columns, giveBack } from './columns.ts';
import { type BatchOptions, type Decoded, decodeJson, decodeLines } from './decode.ts';
import { BatchExecution } from './execution.ts';
import { packInSteps, unpack } from './packed.ts';

export interface BatchOutcome {
  answer: Answer;
  /** What the journal keeps, the answer that its replay must give, and what was emitted. Null: nothing has happened. */
  stored: { command: BatchCommand; payload: Uint8Array; proof: Answer; events: readonly EmittedEvent[] } | null;
  /** A part was done that must be undone: the host is to be thrown away and built anew without the batch. */
  spoiled: boolean;
}

export class Batch {
  private readonly _host: Host;
  private readonly _command: BatchCommand;
  private readonly _steps: Generator<void, BatchOutcome>;
  private _size = 0;
  /** Set when `step` has answered true. */
  outcome: BatchOutcome | null = null;

  constructor(host: Host, command: BatchCommand, payload: Uint8Array) {
    this._host = host;
    this._command = command;
    this._steps = this._run(payload);
  }

  /** Reads or executes about `operations` more operations. True: it is done, and there is an outcome. */
  step(operations: number): boolean {
    this._size = operations;
    const { done, value } = this._steps.next();
    if (done) this.outcome = value;
    return done === true;
  }

  private *_run(payload: Uint8Array): Generator<void, BatchOutcome> {
    const found = this._find();
    // What is refused as a whole is not stored, nor what it told.
    this._host.takeEvents();
    if ('kind' in found) return nothing(found);
    const decoded = yield* this._decode(payload);
    if (decoded.kind !== 'batch') return nothing(decoded);
    const { columns, options } = decoded;
    const { format, ...command } = this._command;
    // Results are told, and operations are refused, in the order of the operations.
    const isOrdered = !options.results && !this._host.faults.isArmed('ioas.map');
    if (format !== 'packed' && isOrdered) yield* orderByIova(columns, found.ioas, found.process, this._size);
    const kept = format === 'packed' ? payload : yield* packInSteps(columns, this._size);
    // A small batch is done in one step.
    if (columns.rows > this._size) yield;
    this._host.begin();
    const execution = new BatchExecution(found.ioas, found.process, columns, options, command.base ?? 0);
    while (!execution.step(this._size)) yield;
    giveBack(columns);
    const view = execution.view();
    const results = execution.results();
    const answer: Answer = { kind: 'ok', value: results ? { ...view, results } : view };
    if (execution.mustUndo) return { answer, stored: null, spoiled: true };
    const { onError } = options;
    return {
      answer,
      stored: {
        command: { ...command, format: 'packed', onError, results: options.results },
        payload: kept,
        proof: { kind: 'ok', value: { ...view, checksum: execution.checksum } },
        events: this._host.end(answer).events,
      },
      spoiled: false,
    };
  }

  private *_decode(payload: Uint8Array): Generator<void, Decoded> {
    const { format, onError = 'stop', results = false, base = 0 } = this._command;
    const options: BatchOptions = { onError, results };
    switch (format) {
      case 'json':
        return yield* decodeJson(payload, this._size);
      case 'lines':
        return yield* decodeLines(payload, base, options, this._size);
      case 'packed':
        return { kind: 'batch', columns: unpack(payload) satisfies Columns, options };
    }
  }

  /** The IOAS and the process that asks, or why there is none. */
  private _find(): { ioas: Ioas; process: Process } | Answer {
    const { pid, fd, ioas: id } = this._command;
    const { kernel } = this._host;
    if (!kernel) return this._host.withoutKernel();
    const process = kernel.processes.get(pid);
    if (!process) return { kind: 'not-found', what: `process ${pid}` };
    const file = process.file(fd);
    if (file instanceof Refusal) return refused(file);
    if (!(file instanceof IommufdContext)) {
      const answer = ioctl(process, file, 'IOMMU_IOAS_MAP', {});
      return refused(
        answer instanceof Refusal ? answer : refuse('ENOTTY', 'vfs_ioctl', `${file.link()} is no iommufd`),
      );
    }
    const ioas = lookupIoas(file, id);
    return ioas instanceof Ioas ? { ioas, process } : refused(ioas);
  }
}

const nothing = (answer: Answer): BatchOutcome => ({ answer, stored: null, spoiled: false });
