/**
 * The journal of a host against what its clients asked for: everything acknowledged is in it once, in the order in which
 * each client asked, and nothing that nobody asked for.
 */
import { unpack } from '../../src/host/batch/packed.ts';
import type { StoredCommand } from '../../src/store/store.ts';
import { type Answer, isReboot, leavesRow, type Operation, type Stored } from './operations.ts';

/** An operation, and a command that it left. */
export interface Found {
  operation: Operation;
  row: StoredCommand;
  command: Stored;
  /** Of lines: how many come before this piece, and how many are in it. */
  base: number;
  lines: number;
}

type Queues = ReadonlyMap<object, Operation[]>;

export class JournalCheck {
  readonly #queues: Queues;
  /** Of lines that are being looked up: how many are in the journal. */
  readonly #journaled = new Map<Operation, number>();
  #reboot: Operation | null = null;

  /** By client, in the order in which it asked. What is found is taken out. */
  constructor(queues: Queues) {
    this.#queues = queues;
  }

  /** Throws where the journal is not what it must be. */
  look(rows: readonly StoredCommand[]): Found[] {
    const found = rows.map((row) => this.#find(row));
    for (const queue of this.#queues.values()) for (const operation of queue.splice(0)) this.#end(operation);
    return found;
  }

  #find(row: StoredCommand): Found {
    const command = JSON.parse(row.command) as Stored;
    if (command.op === 'kexec.boot') return this.#boot(row, command);
    const places = [...this.#queues.values()].flatMap((queue) => {
      const index = this.#placeIn(queue, command);
      return index < 0 ? [] : [{ queue, index }];
    });
    const [place] = places;
    if (place === undefined || places.length > 1) {
      const next = [...this.#queues.values()].flatMap((queue) => queue.slice(0, 3).map(brief));
      const who = place === undefined ? 'nobody' : 'more than one client';
      throw new Error(`${who} asked for what is in the journal, ${show(row)}; to be found next:\n${next.join('\n')}`);
    }
    const { queue, index } = place;
    for (const skipped of queue.splice(0, index)) this.#end(skipped);
    const operation = queue[0]!;
    if (operation.outcome === 'declined') throw new Error(`declined, and yet in the journal: ${brief(operation)}`);
    if (isReboot(operation)) this.#reboot = operation;
    if (operation.kind !== 'lines') {
      queue.shift();
      return { operation, row, command, base: 0, lines: 0 };
    }
    const base = this.#journaled.get(operation) ?? 0;
    const lines = unpack(row.payload!).operations;
    this.#journaled.set(operation, base + lines);
    return { operation, row, command, base, lines };
  }

  /** Where it is; whatever comes before it must be allowed to be missing. */
  #placeIn(queue: readonly Operation[], command: Stored): number {
    for (const [index, operation] of queue.entries()) {
      const mayLeaveRow = operation.outcome !== 'answered' || leavesRow(operation);
      if (mayLeaveRow && operation.expects(command) && this.#continues(operation, command)) return index;
      if (!this.#mayBeOver(operation)) return -1;
    }
    return -1;
  }

  #continues(operation: Operation, command: Stored): boolean {
    if (command.op !== 'batch') return true;
    if (operation.kind === 'batch') return command.base === undefined;
    return command.base === (this.#journaled.get(operation) ?? 0);
  }

  #mayBeOver(operation: Operation): boolean {
    return this.#journaled.has(operation) || !leavesRow(operation);
  }

  #boot(row: StoredCommand, command: Stored): Found {
    const operation = this.#reboot;
    if (operation?.kind !== 'kexec.freeze') throw new Error(`a boot without a kexec before it: ${show(row)}`);
    this.#reboot = null;
    return { operation, row, command, base: 0, lines: 0 };
  }

  /** All of its commands have been found. */
  #end(operation: Operation): void {
    const journaled = this.#journaled.get(operation);
    if (journaled === undefined && leavesRow(operation)) {
      throw new Error(`acknowledged and not in the journal: ${brief(operation)}`);
    }
    if ((journaled ?? 0) < operation.acknowledged) {
      throw new Error(`${operation.acknowledged} lines acknowledged, ${journaled ?? 0} in the journal`);
    }
  }
}

/** What an answer says, without what is of the request alone. */
export function saidBy({ status, body }: Answer): Answer {
  if (status < 400) return { status, body };
  const { instance: _, ...problem } = body as Record<string, unknown>;
  return { status, body: problem };
}

function brief({ kind, request, outcome, answer }: Operation): string {
  const { method, path, body } = request;
  return `${kind} ${method} ${path} ${JSON.stringify(body)?.slice(0, 200)} ${outcome} ${JSON.stringify(answer)?.slice(0, 500)}`;
}

function show({ sequence, command }: StoredCommand): string {
  return `command ${sequence}: ${command.slice(0, 500)}`;
}
