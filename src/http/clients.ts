/** Clients that go before they are answered: what they have asked for need not be done. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Answer, CausedEvent } from '../host/command.ts';
import type { Lanes } from '../lanes/lanes.ts';
import type { RequestKey } from '../store/store.ts';
import type { Client } from '../threads/client.ts';
import type { Before } from './idempotency.ts';

class HttpClient implements Client {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  get isGone(): boolean {
    return this.#response.destroyed;
  }

  whenGone(tell: () => void): () => void {
    this.#response.once('close', tell);
    return () => this.#response.off('close', tell);
  }
}

/** The lanes as one request asks them, and the hazards that what it has asked for has caused. */
export interface AskedLanes {
  lanes: Lanes;
  hazards: readonly CausedEvent[];
  /** Something that changes what is stored has been answered, whatever it was. */
  isDone: boolean;
}

/**
 * The same lanes, asked by the client of this answer, with the key of its request; or, where that was carried out `before`, what it has led to then.
 * `lanes` is a plain object.
 */
export function lanesFor(lanes: Lanes, response: ServerResponse, key?: RequestKey, before?: Before): AskedLanes {
  const client = new HttpClient(response);
  const asked: AskedLanes = {
    lanes: {
      ...lanes,
      execute: async (hostId, command) => noted(await lanes.execute(hostId, command, client, key)),
      // One of lines has a key for each of its pieces.
      batch: async (hostId, command, payload, _client, own = key) =>
        noted(await lanes.batch(hostId, command, payload, client, own)),
      query: (hostId, query) => lanes.query(hostId, query, client),
      lookBack: (hostId, query) => lanes.lookBack(hostId, query, client),
      restore: async (hostId, name) => noted(await lanes.restore(hostId, name, client, key)),
      create: async (row) => noted(await lanes.create(key === undefined ? row : { ...row, request: key })),
      copy: async (hostId, row, at) =>
        noted(await lanes.copy(hostId, key === undefined ? row : { ...row, request: key }, at, client)),
    },
    hazards: [],
    isDone: false,
  };
  const noted = (answer: Answer): Answer => {
    asked.isDone = true;
    if (answer.hazards) asked.hazards = [...asked.hazards, ...answer.hazards];
    return answer;
  };
  return before === undefined ? asked : answeredBy(asked, before);
}

function answeredBy({ lanes }: AskedLanes, { answer }: Before): AskedLanes {
  const again = async (): Promise<Answer> => answer;
  return {
    lanes: { ...lanes, execute: again, batch: again, restore: again, create: again, copy: again },
    hazards: answer.hazards ?? [],
    isDone: true,
  };
}

/** When it is first asked whether the client still reads, in milliseconds; then after twice as long each time. */
const FIRST_PROBE_MS = 100;

/**
 * A client that has closed its side of the connection may still read, or be gone: the system tells which when something has
 * been sent to it. So as long as `current` has no answer, it is sent that it is being worked on (102). Returns what has to be called
 * when the next one is current.
 */
export function probeWhenHalfClosed(socket: Socket, current: () => ServerResponse | undefined): () => void {
  const probe = (response: ServerResponse, delay: number): void => {
    const timer = setTimeout(() => {
      if (current() !== response || response.headersSent || response.req.httpVersionMinor === 0) return;
      response.writeProcessing();
      probe(response, delay * 2);
    }, delay).unref();
    response.once('close', () => clearTimeout(timer));
  };
  const begin = (): void => {
    const response = current();
    if (response !== undefined) probe(response, FIRST_PROBE_MS);
  };
  socket.once('end', begin);
  return () => {
    if (socket.readableEnded) begin();
  };
}
