/** Clients that go before they are answered: what they have asked for need not be done. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Answer, CausedEvent } from '../host/command.ts';
import type { Expected, Lanes } from '../lanes/lanes.ts';
import type { Client } from '../threads/client.ts';
import { Problem } from './problems.ts';

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

/** The lanes as one request asks them, and what is known of the host when they have answered. */
export interface AskedLanes {
  lanes: Lanes;
  /** Those that what it has asked for has caused. */
  hazards: readonly CausedEvent[];
  /** Where the host was behind the last that it has asked for; null: it has asked for nothing that tells. */
  sequence: number | null;
}

/**
 * The same lanes, asked by the client of this answer, who may change nothing if `readsOnly`. `lanes` is a plain object. `expected`: the
 * first command is done only where the host is there; those behind it follow it. All queries before it are answered only where it is
 * there, too.
 */
export function lanesFor(
  lanes: Lanes,
  response: ServerResponse,
  { readsOnly, expected }: { readsOnly: boolean; expected: Expected | undefined },
): AskedLanes {
  const client = new HttpClient(response);
  let left = expected;
  const taken = (): Expected | undefined => {
    const condition = left;
    left = undefined;
    return condition;
  };
  const asked: AskedLanes = {
    lanes: {
      ...lanes,
      execute: async (hostId, command) => noted(await lanes.execute(hostId, command, client, taken())),
      batch: async (hostId, command, payload) => noted(await lanes.batch(hostId, command, payload, client, taken())),
      query: async (hostId, query) => noted(await lanes.query(hostId, query, client, left)),
      lookBack: (hostId, query) => lanes.lookBack(hostId, query, client),
      restore: async (hostId, name) => noted(await lanes.restore(hostId, name, client, taken())),
      copy: (hostId, row, at) => lanes.copy(hostId, row, at, client),
      remove: (hostId) => lanes.remove(hostId, taken()),
    },
    hazards: [],
    sequence: null,
  };
  const noted = (answer: Answer): Answer => {
    if (answer.hazards) asked.hazards = [...asked.hazards, ...answer.hazards];
    if (answer.sequence !== undefined) asked.sequence = answer.sequence;
    return answer;
  };
  // What a program would do by a system call takes simulated time, also where it only reads.
  if (readsOnly) asked.lanes.execute = () => Promise.reject(new Problem('forbidden', NO_CALLS));
  return asked;
}

const NO_CALLS =
  'The key may only read, and this is read by a system call, which takes time of the host: use a key of the role full.';

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
