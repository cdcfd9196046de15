/** Clients that go before they are answered, and what the lanes hear of that. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { ServiceStopping, TooCostly } from '../../src/lanes/errors.ts';
import type { Client } from '../../src/threads/client.ts';
import { fixture, HOST } from './fixture.ts';
import { answersIn, HOST_PATH, type Listening, listening, requestOf } from './sockets.ts';

const CALLS = requestOf(`POST ${HOST_PATH}/processes/1/calls`, JSON.stringify({ calls: [{ call: 'close', fd: 3 }] }));

interface Working extends Listening {
  socket: Socket;
  client: Client;
  answer: () => void;
}

/** A command is at work for the client of a socket. */
async function working(t: TestContext): Promise<Working> {
  const made = await listening(t);
  const begun = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  made.lanes.onCommand = async () => {
    begun.resolve();
    await done.promise;
    return { kind: 'ok', value: { results: [] } };
  };
  const socket = await made.dial();
  socket.write(CALLS);
  await begun.promise;
  return { ...made, socket, client: made.lanes.clients[0]!, answer: done.resolve };
}

const gone = (client: Client): Promise<void> => new Promise((resolve) => void client.whenGone(resolve));

for (const [how, go] of [
  ['closes its connection', (socket: Socket) => socket.destroy()],
  ['resets its connection', (socket: Socket) => socket.resetAndDestroy()],
] as const)
  test(`lanes hear of a client that ${how}`, async (t) => {
    const { socket, client, answer } = await working(t);
    assert.equal(client.isGone, false);
    const heard = gone(client);
    go(socket);
    await heard;
    assert.equal(client.isGone, true);
    answer();
  });

test('a client that closes only its side is answered, and told meanwhile that it is', async (t) => {
  const { socket, client, answer } = await working(t);
  let received = '';
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    received += chunk;
  });
  socket.end();
  while (answersIn(received).length < 2) await once(socket, 'data');
  assert.equal(client.isGone, false);
  answer();
  await once(socket, 'end');
  const statuses = answersIn(received).map(({ status }) => status);
  assert.equal(statuses.at(-1), 200);
  assert.ok(statuses.slice(0, -1).every((status) => status === 102));
});

test('a client that is answered was there until then', async (t) => {
  const { socket, client, answer } = await working(t);
  answer();
  await once(socket, 'data');
  assert.equal(client.isGone, true);
});

test('what would take too long is refused with what to do', async (t) => {
  const { ask, lanes } = await fixture(t);
  lanes.onCommand = () => {
    throw new TooCostly('it would take more than 10 s of work (HOLDOVER_COMMAND_SECONDS)');
  };
  const { status, body } = await ask('post', `/v1/hosts/${HOST}/processes/1/calls`, { calls: [] });
  assert.deepEqual([status, body.type], [422, '/problems/too-costly']);
  assert.match(body.detail, /^It would take more than 10 s .*HOLDOVER_COMMAND_SECONDS.*Nothing.*has happened.*Split/);
});

test('a stop has lanes give up what takes long, and its client is told to come again', async (t) => {
  const { app, socket, lanes } = await listeningWith(t);
  const closed = app.close();
  const [answer] = (await once(socket, 'data')) as [Buffer];
  const [refused] = answersIn(String(answer));
  assert.equal(refused!.status, 503);
  assert.match(refused!.headers, /retry-after: 1/i);
  assert.match(refused!.body, /"\/problems\/service-stopping".*Nothing has changed/);
  await closed;
  assert.equal(lanes.commands.length, 1);
});

/** A command that ends only when it is given up. */
async function listeningWith(t: TestContext): Promise<Listening & { socket: Socket }> {
  const made = await listening(t);
  const begun = Promise.withResolvers<void>();
  const stopped = Promise.withResolvers<never>();
  made.lanes.onStop = () => stopped.reject(new ServiceStopping());
  made.lanes.onCommand = () => {
    begun.resolve();
    return stopped.promise;
  };
  const socket = await made.dial();
  socket.write(CALLS);
  await begun.promise;
  return { ...made, socket };
}
