/** The HTTP face through sockets: requests as they stand on the wire, and what comes back. */
import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { type Fixture, type FixtureOptions, fixture, HOST, KEY } from './fixture.ts';

export const HOST_PATH = `/v1/hosts/${HOST}`;

/** A request of the tenant. `headers`: besides those that it needs. */
export function requestOf(line: string, body?: string, headers: Record<string, string | number> = {}): string {
  const all = {
    host: 'x',
    authorization: `Bearer ${KEY}`,
    ...(body !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${line} HTTP/1.1\r\n${lines.join('')}\r\n${body ?? ''}`;
}

export interface Listening extends Fixture {
  port: number;
  /** A connection, whose client leaves it open when the service closes its side. */
  dial: () => Promise<Socket>;
}

export async function listening(t: TestContext, options: FixtureOptions = {}): Promise<Listening> {
  const made = await fixture(t, options);
  await made.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = made.app.server.address() as AddressInfo;
  const dial = async (): Promise<Socket> => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    t.after(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  return { ...made, port, dial };
}

export interface Answer {
  status: number;
  headers: string;
  body: string;
}

/** Takes whole answers off a text of several. */
export function answersIn(received: string): Answer[] {
  const answers: Answer[] = [];
  for (let rest = received; rest !== ''; ) {
    const end = rest.indexOf('\r\n\r\n') + 4;
    const headers = rest.slice(0, end);
    const length = Number(/content-length: (\d+)/i.exec(headers)?.[1] ?? 0);
    answers.push({ status: Number(rest.slice(9, 12)), headers, body: rest.slice(end, end + length) });
    rest = rest.slice(end + length);
  }
  return answers;
}

/** All that comes until the service has closed its side, which it does. */
export async function untilEnd(socket: Socket): Promise<Answer[]> {
  let received = '';
  socket.on('data', (chunk) => {
    received += chunk;
  });
  await once(socket, 'end');
  return answersIn(received);
}

/** The kinds of problems that were answered. */
export const problemsIn = (answers: readonly Answer[]): string[] =>
  answers.map(({ status, body }) => `${status} ${String(JSON.parse(body).type).replace('/problems/', '')}`);
