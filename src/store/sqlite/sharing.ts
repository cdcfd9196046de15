/**
 * Who writes when several threads run hosts: a thread of its own, to which they speak directly; or, where there is only
 * one all the time, that one, also for others that join it. The thread that has opened the store writes by the same.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { ThreadDied } from '../../threads/errors.ts';
import { Caller } from '../../threads/ports.ts';
import { makeStoreError, StoreUnavailable } from '../errors.ts';
import type { SharedStore, StorePass, ThreadStore } from '../store.ts';
import { Changes } from './changes.ts';
import { connectForWriting, type Durability } from './database.ts';
import { serveWriter, type WriterRequest } from './doors.ts';
import { openHostStore } from './host-store.ts';
import { GroupWriter } from './writer.ts';
import { WriterHandle } from './writer-handle.ts';
import type { Write, Writer } from './writes.ts';

export interface SqliteShare extends SharedStore {
  killWriter(): Promise<void>;
}

export interface SharingOptions {
  directory: string;
  durability: Durability;
  threads: number;
  changes: Changes;
  onLost: (cause: unknown) => void;
  /** Has the thread that has opened the store write by this; null: by itself. */
  writeBy: (writer: Writer | null) => void;
}

/** What a thread gets. */
interface Pass {
  /** Of `Changes`. */
  changes: SharedArrayBuffer;
  directory: string;
  durability: Durability;
  /** Where its writes go, or, if it writes itself, where those of others come from. */
  port: MessagePort;
  writes: boolean;
}

export function share(options: SharingOptions): SqliteShare {
  return options.threads > 1 ? ownThread(options) : onlyThread(options);
}

function ownThread({ directory, durability, changes, onLost, writeBy }: SharingOptions): SqliteShare {
  const writer = new WriterHandle({ directory, durability, onDeath: onLost });
  writeBy(writer);
  return {
    async pass(thread): Promise<StorePass> {
      const port = await writer.attach(thread);
      const data: Pass = { directory, durability, changes: changes.memory, port, writes: false };
      return { data, transfer: [port] };
    },
    async close() {
      try {
        await writer.close();
      } finally {
        writeBy(null);
      }
    },
    killWriter: () => writer.kill(),
  };
}

/** The thread that writes where no other one does only that. */
const FIRST = 0;

function onlyThread({ directory, durability, changes, onLost, writeBy }: SharingOptions): SqliteShare {
  let caller: Caller<WriterRequest> | null = null;
  let hasOthers = false;
  return {
    async pass(thread): Promise<StorePass> {
      const { port1, port2 } = new MessageChannel();
      if (thread !== FIRST) {
        if (caller === null) throw new Error('the thread that writes has not got its pass yet');
        hasOthers = true;
        await caller.ask({ ask: 'attach', thread, port: port1 }, [port1]);
        const data: Pass = { directory, durability, changes: changes.memory, port: port2, writes: false };
        return { data, transfer: [port2] };
      }
      const before = caller;
      const next = new Caller<WriterRequest>(port1, 'any', makeStoreError);
      writeBy({ write: (write) => next.ask<number>({ ask: 'write', write }) });
      caller = next;
      const ended = new ThreadDied('the thread that writes ended');
      before?.fail(ended);
      if (before !== null && hasOthers) onLost(ended);
      const data: Pass = { directory, durability, changes: changes.memory, port: port2, writes: true };
      return { data, transfer: [port2] };
    },
    async close() {
      caller?.fail(new StoreUnavailable('the service has stopped'));
      writeBy(null);
    },
    async killWriter() {},
  };
}

/** In the thread that has got a pass. */
export function openShared(data: unknown): ThreadStore {
  const { directory, durability, changes, port, writes } = data as Pass;
  const writer = writes ? writeHere(directory, durability, port) : writeThere(port);
  const store = openHostStore(directory, writer, new Changes(changes));
  return {
    ...store,
    async close() {
      await store.close();
      writer.close();
    },
  };
}

type ClosingWriter = Writer & { close(): void };

function writeHere(directory: string, durability: Durability, port: MessagePort): ClosingWriter {
  const database = connectForWriting(directory, durability);
  const own = new GroupWriter(database);
  const stop = serveWriter(port, own, () => {});
  return {
    write: (write) => own.write(write),
    close() {
      stop();
      own.flush();
      database.close();
    },
  };
}

function writeThere(port: MessagePort): ClosingWriter {
  const caller = new Caller<Write>(port, 'any', makeStoreError);
  return { write: (write) => caller.ask<number>(write), close: () => port.close() };
}
