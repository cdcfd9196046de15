/** What one connection sends is not felt by others: it is parsed a little at a time, in turns. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { KnownKeys } from '../../src/http/fair-turns.ts';
import { type Reader, Reading } from '../../src/http/reading.ts';

interface Reads {
  keys: KnownKeys;
  readers: Reader[];
  dial: () => Promise<Socket>;
  accepted: Socket[];
}

/** Node's server, whose connections are read in turns and do not go on while `mayGoOn` says so. */
async function reads(t: TestContext, handle: RequestListener, mayGoOn = (): boolean => true): Promise<Reads> {
  const keys = new KnownKeys();
  const reading = new Reading(keys);
  const server = createServer({ requireHostHeader: false }, handle);
  // As that of the service (connections.ts).
  Object.assign(server, { httpAllowHalfOpen: true });
  const readers: Reader[] = [];
  const accepted: Socket[] = [];
  server.on('connection', (socket) => {
    accepted.push(socket);
    readers.push(reading.watch(socket, mayGoOn));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const dial = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    t.after(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  return { keys, readers, dial, accepted };
}

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await setImmediate();
};

/** Keeps the thread at work. */
function work(milliseconds: number): void {
  const begun = performance.now();
  while (performance.now() - begun < milliseconds);
}

const GET = 'GET / HTTP/1.1\r\n\r\n';

test('of many requests that have come at once, few are parsed before others have their turn', async (t) => {
  let most = 0;
  let turn = 0;
  let arrived = 0;
  const { dial } = await reads(t, (_request, response) => {
    arrived += 1;
    turn += 1;
    most = Math.max(most, turn);
    work(0.05);
    response.end();
  });
  const socket = await dial();
  const received = text(socket);
  socket.end(GET.repeat(3000));
  while (arrived < 3000) {
    await setImmediate();
    turn = 0;
  }
  await received;
  assert.ok(most < 200, `${most} in a turn`);
});

test('nothing is parsed while the connection may not go on, and all of it in the end', async (t) => {
  let arrived = 0;
  let isOpen = false;
  const listener: RequestListener = (_request, response) => {
    arrived += 1;
    response.end();
  };
  const { dial, accepted } = await reads(t, listener, () => isOpen || arrived === 0);
  const socket = await dial();
  const received = text(socket);
  socket.end(GET.repeat(3000));
  await until(() => arrived > 0 && accepted[0]!.bytesRead >= GET.length * 3000);
  for (let turn = 0; turn < 20; turn++) await setImmediate();
  assert.ok(arrived < 100, `${arrived} have been parsed`);
  isOpen = true;
  accepted[0]!.resume();
  assert.equal((await received).split('HTTP/1.1 200').length - 1, 3000);
});

test('tenants take turns: one whose request comes alone does not wait for another one of hundreds of connections', async (t) => {
  const order: string[] = [];
  const { keys, readers, dial } = await reads(t, ({ url }, response) => {
    order.push(url!);
    work(0.5);
    response.end();
  });
  for (const key of ['loud', 'quiet']) keys.know(key);
  const loud = await Promise.all(Array.from({ length: 100 }, dial));
  for (const reader of readers) reader.key = 'loud';
  const quiet = await dial();
  await until(() => readers.length === 101);
  readers.at(-1)!.key = 'quiet';
  const answered = Promise.all(loud.map((socket) => text(socket)));
  for (const socket of loud) socket.end('GET /loud HTTP/1.1\r\n\r\n'.repeat(20));
  await until(() => order.length > 100);
  const sent = order.length;
  quiet.write('GET /quiet HTTP/1.1\r\n\r\n');
  await until(() => order.includes('/quiet'));
  assert.ok(order.indexOf('/quiet') - sent < 200, `${order.indexOf('/quiet') - sent} were before it`);
  await answered;
  assert.equal(order.length, 2001);
});

const MANY = 1000;

test('of very many connections that speak at once, few are heard before others have their turn', async (t) => {
  const { keys, readers, dial, accepted } = await reads(t, (_request, response) => response.end());
  for (const key of ['loud', 'quiet']) keys.know(key);
  const sockets = await Promise.all(Array.from({ length: MANY }, dial));
  const quiet = await dial();
  await until(() => readers.length === MANY + 1);
  for (const reader of readers) reader.key = 'loud';
  readers.at(-1)!.key = 'quiet';
  for (const socket of [...sockets, quiet]) socket.write(GET);
  let beforeQuiet: number | undefined;
  let most = 0;
  for (let heard = 0; heard <= MANY; ) {
    await setImmediate();
    const before = heard;
    heard = accepted.filter(({ bytesRead }) => bytesRead > 0).length;
    most = Math.max(most, heard - before);
    if (accepted.at(-1)!.bytesRead > 0) beforeQuiet ??= before;
  }
  assert.ok(most < 200, `${most} in a turn`);
  assert.ok(beforeQuiet! < 400, `${beforeQuiet} were before the quiet one`);
});

for (const go of ['end', 'resetAndDestroy'] as const) {
  test(`of very many connections that go at once (${go}), few are heard before others have their turn`, async (t) => {
    const { dial, accepted } = await reads(t, () => {});
    const sockets = await Promise.all(Array.from({ length: MANY }, dial));
    await until(() => accepted.length === MANY);
    let heard = 0;
    let turn = 0;
    let most = 0;
    for (const socket of accepted) {
      socket.once(go === 'end' ? 'end' : 'error', () => {
        heard += 1;
        turn += 1;
        most = Math.max(most, turn);
      });
    }
    for (const socket of sockets) socket[go]();
    while (heard < MANY) {
      await setImmediate();
      turn = 0;
    }
    assert.ok(most < 200, `${most} in a turn`);
  });
}

test('a body of many tiny chunks arrives as it was sent, a few chunks in a turn', async (t) => {
  const CHUNKS = 20_000;
  let most = 0;
  let turn = 0;
  let received = 0;
  let over = false;
  const handle = (request: IncomingMessage): void => {
    request.on('data', (chunk: Buffer) => {
      received += chunk.length;
      turn += 1;
      most = Math.max(most, turn);
      work(0.01);
    });
    request.on('end', () => {
      over = true;
    });
  };
  const { dial } = await reads(t, handle);
  const socket = await dial();
  // What comes together with the headers is received before anybody listens for it, in whatever time that takes.
  socket.write('POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n');
  await until(() => received === 1);
  socket.write(`${'1\r\nx\r\n'.repeat(CHUNKS - 1)}0\r\n\r\n`);
  while (!over) {
    await setImmediate();
    turn = 0;
  }
  assert.equal(received, CHUNKS);
  assert.ok(most < 1000, `${most} in a turn`);
});

test('large bodies arrive whole, many at a time, whose readers go on when they like', async (t) => {
  const BYTES = 2 << 20;
  const sums: number[] = [];
  const { dial } = await reads(t, async (request, response) => {
    let sum = 0;
    for await (const chunk of request) {
      for (const byte of chunk as Buffer) sum += byte;
      await setImmediate();
    }
    sums.push(sum);
    response.end();
  });
  const body = Buffer.alloc(BYTES, Buffer.from([1, 2, 3, 4]));
  const sockets = await Promise.all(Array.from({ length: 8 }, dial));
  const answered = Promise.all(sockets.map((socket) => text(socket)));
  for (const socket of sockets) {
    socket.write(`POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: ${BYTES}\r\n\r\n`);
    socket.write(body);
  }
  await answered;
  assert.deepEqual(sums, Array(8).fill((BYTES / 4) * 10));
});

test('who does not read answers is not read either, until it does', async (t) => {
  let arrived = 0;
  const large = Buffer.alloc(256 << 10, 'x');
  const { dial } = await reads(t, (_request, response) => {
    arrived += 1;
    response.end(large);
  });
  const socket = await dial();
  socket.pause();
  socket.end(GET.repeat(400));
  let before = -1;
  while (before < arrived) {
    before = arrived;
    for (let turn = 0; turn < 100; turn++) await setImmediate();
  }
  assert.ok(arrived < 200, `${arrived} have been answered`);
  assert.equal((await text(socket)).split('HTTP/1.1 200').length - 1, 400);
});
