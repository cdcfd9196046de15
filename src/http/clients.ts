/** Clients that go before they are answered: what they have asked for need not be done. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Lanes } from '../lanes/lanes.ts';
import type { Client } from '../threads/client.ts';

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

/** The same lanes, asked by the client of this answer. `lanes` is a plain object. */
export function lanesFor(lanes: Lanes, response: ServerResponse): Lanes {
  const client = new HttpClient(response);
  return {
    ...lanes,
    execute: (hostId, command) => lanes.execute(hostId, command, client),
    batch: (hostId, command, payload) => lanes.batch(hostId, command, payload, client),
    query: (hostId, query) => lanes.query(hostId, query, client),
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
