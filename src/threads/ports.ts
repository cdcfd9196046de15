/**
 * What threads say to each other: requests with a ticket, and answers that bear it. All that is asked, or answered,
 * in one turn of the event loop goes in one message, because a message costs more than what is in it. It goes as JSON
 * where that is enough, which takes a quarter of the time of a structured clone.
 */
import type { MessagePort, Transferable } from 'node:worker_threads';
import type { Client, Presence } from './client.ts';
import { AnswerLost, type MakeError, receiveError, type SentError, sendError } from './errors.ts';

interface Ask<Request> {
  ticket: number;
  request: Request;
}

/** Nobody waits for the answer any more. */
interface Gone {
  ticket: number;
  gone: true;
}

type Reply = { ticket: number; value: unknown } | { ticket: number; error: SentError };

/** How things get to the other end: plain data as JSON (fields that are undefined do not arrive), or bytes and ports, too. */
export type Speech = 'plain' | 'any';

/** Items of one message. */
type Message<Item> = Item[] | string;

const itemsOf = <Item>(message: Message<Item>): Item[] =>
  typeof message === 'string' ? (JSON.parse(message) as Item[]) : message;

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
  /** The client need not be heard of any more. */
  forget: (() => void) | undefined;
}

/** The end of a port that asks. */
export class Caller<Request> {
  readonly #port: MessagePort;
  readonly #waiting = new Map<number, Waiting>();
  readonly #outbox: Outbox<Ask<Request> | Gone>;
  readonly #makeError: MakeError;
  #next = 1;
  #failed: Error | null = null;

  /** `speech`: what requests are, but for those that give something away. */
  constructor(port: MessagePort, speech: Speech, makeError: MakeError) {
    this.#port = port;
    this.#makeError = makeError;
    // All that the sockets which are read in one turn ask for goes together.
    const refuse = ({ ticket }: Ask<Request> | Gone, error: unknown): void =>
      this.#settle({ ticket, error: sendError(error) });
    this.#outbox = new Outbox(port, speech, setImmediate, refuse);
    port.on('message', (message: Message<Reply>) => {
      for (const reply of itemsOf(message)) this.#settle(reply);
    });
  }

  /**
   * What is in `transfer` is no longer the caller's. The other end hears when the client goes before the answer. Rejects with
   * what the other end threw.
   */
  ask<Value>(request: Request, transfer: readonly Transferable[] = [], client?: Client): Promise<Value> {
    if (this.#failed !== null) return Promise.reject(this.#failed);
    const { promise, resolve, reject } = Promise.withResolvers<Value>();
    const ticket = this.#next++;
    const forget = client?.whenGone(() => this.#outbox.add({ ticket, gone: true }));
    this.#waiting.set(ticket, { resolve, reject, forget });
    this.#outbox.add({ ticket, request }, transfer);
    return promise;
  }

  /** The other end is gone: whatever waits, and whatever is asked from now on, fails with this. */
  fail(error: Error): void {
    this.#failed = error;
    this.#port.close();
    for (const { reject, forget } of this.#waiting.values()) {
      forget?.();
      reject(error);
    }
    this.#waiting.clear();
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting.get(reply.ticket);
    this.#waiting.delete(reply.ticket);
    waiting?.forget?.();
    if ('error' in reply) waiting?.reject(receiveError(reply.error, this.#makeError));
    else waiting?.resolve(reply.value as never);
  }
}

/**
 * Answers what is asked at the other end of a port. `given`: what of an answer is given away instead of being copied. The result
 * shuts it: what comes later is not heard.
 */
export function serve<Request>(
  port: MessagePort,
  handle: (request: Request, client: Presence) => Promise<unknown>,
  given: (answer: unknown) => readonly Transferable[] = () => [],
): () => void {
  const refuse = ({ ticket }: Reply, error: unknown): void =>
    outbox.add({ ticket, error: sendError(new AnswerLost(error instanceof Error ? error.message : String(error))) });
  // After all that a commit, or a message, has come to, and without another turn of the event loop.
  const outbox = new Outbox<Reply>(port, 'plain', process.nextTick, refuse);
  const clients = new Map<number, { isGone: boolean }>();
  const answer = async ({ ticket, request }: Ask<Request>): Promise<void> => {
    const client = { isGone: false };
    clients.set(ticket, client);
    try {
      const value = await handle(request, client);
      outbox.add({ ticket, value }, given(value));
    } catch (error) {
      outbox.add({ ticket, error: sendError(error) });
    } finally {
      clients.delete(ticket);
    }
  };
  const hear = (message: Message<Ask<Request> | Gone>): void => {
    for (const item of itemsOf(message)) {
      if ('request' in item) void answer(item);
      else Object.assign(clients.get(item.ticket) ?? {}, { isGone: true });
    }
  };
  port.on('message', hear);
  return () => {
    port.off('message', hear);
    port.close();
  };
}

/** With more in a message the other end would wait for what it could begin with. */
const MOST_ITEMS = 8;

class Outbox<Item> {
  readonly #port: MessagePort;
  readonly #speech: Speech;
  readonly #later: (send: () => void) => void;
  /** Called with what cannot be sent: it holds what cannot be copied or given away. */
  readonly #refuse: (item: Item, error: unknown) => void;
  #items: Item[] = [];
  #transfer: (readonly Transferable[])[] = [];

  /** `later`: when what has been collected goes. */
  constructor(
    port: MessagePort,
    speech: Speech,
    later: (send: () => void) => void,
    refuse: (item: Item, error: unknown) => void,
  ) {
    this.#port = port;
    this.#speech = speech;
    this.#later = later;
    this.#refuse = refuse;
  }

  add(item: Item, transfer: readonly Transferable[] = []): void {
    this.#transfer.push(transfer);
    const count = this.#items.push(item);
    if (count === 1) this.#later(this.#send);
    if (count === MOST_ITEMS) this.#send();
  }

  readonly #send = (): void => {
    if (this.#items.length === 0) return;
    const items = this.#items;
    const transfer = this.#transfer;
    this.#items = [];
    this.#transfer = [];
    try {
      this.#post(items, transfer.flat());
    } catch {
      for (const [index, item] of items.entries()) this.#sendAlone(item, transfer[index]!);
    }
  };

  #sendAlone(item: Item, transfer: readonly Transferable[]): void {
    try {
      this.#post([item], transfer);
    } catch (error) {
      this.#refuse(item, error);
    }
  }

  #post(items: Item[], transfer: readonly Transferable[]): void {
    const message: Message<Item> = this.#speech === 'plain' && transfer.length === 0 ? JSON.stringify(items) : items;
    this.#port.postMessage(message, [...transfer]);
  }
}
