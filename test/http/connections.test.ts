/** What one connection can ask ahead: through sockets, as clients that do not read, or not in time, have them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Server, ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { Connections } from '../../src/http/connections.ts';
import { KEY } from './fixture.ts';
import { answersIn, requestOf as ask, HOST_PATH, listening } from './sockets.ts';

const ok = (value: unknown) => ({ kind: 'ok', value }) as const;

test('of what a connection asks, nothing is begun before the answer to what came before has been read', async (t) => {
  const { dial, lanes, ask: other } = await listening(t);
  const REQUESTS = 400;
  lanes.onQuery = () => ok({ padding: 'x'.repeat(256 << 10), number: lanes.queries.length });
  const socket = await dial();
  socket.pause();
  // They fit into one chunk of what is read.
  socket.end(ask(`GET ${HOST_PATH}/processes/1`).repeat(REQUESTS));
  for (let probe = 0; probe < 50; probe++) assert.equal((await other('get', '/livez')).status, 200);
  // The system holds some MiB of answers for those who do not read.
  assert.ok(lanes.queries.length < 100, `${lanes.queries.length} were begun`);
  const answers = answersIn(await text(socket));
  assert.deepEqual(
    answers.map(({ body }) => JSON.parse(body).number),
    Array.from({ length: REQUESTS }, (_, index) => index + 1),
  );
});

test('so it is with the pages that need no key', async (t) => {
  const { app, dial, ask: other } = await listening(t);
  let responses: ServerResponse[] = [];
  app.server.on('request', (_request, response) => responses.push(response));
  const PATHS = { '/openapi.json': 60, '/docs/json': 60, '/docs/static/swagger-ui-bundle.js': 20 };
  for (const [path, most] of Object.entries(PATHS)) {
    responses = [];
    const socket = await dial();
    socket.pause();
    socket.write(ask(`GET ${path}`).repeat(600));
    for (let probe = 0; probe < 50; probe++) assert.equal((await other('get', '/livez')).status, 200);
    const begun = responses.filter(({ headersSent }) => headersSent).length - 50;
    assert.ok(begun > 0 && begun <= most, `${begun} of ${path}`);
    socket.destroy();
  }
});

test('requests of one connection are done one after the other, those of others beside them', async (t) => {
  const { dial, lanes } = await listening(t);
  const goOn = Promise.withResolvers<void>();
  const two = Promise.withResolvers<void>();
  const log: string[] = [];
  lanes.onCommand = async (command) => {
    const { nanoseconds } = command as { nanoseconds: string };
    log.push(`+${nanoseconds}`);
    if (log.length === 2) two.resolve();
    await goOn.promise;
    log.push(`-${nanoseconds}`);
    return ok({ now: nanoseconds });
  };
  const [one, other] = [await dial(), await dial()];
  const advance = (by: number) => ask(`POST ${HOST_PATH}/clock`, `{"advance":${by}}`);
  one.end(advance(1) + advance(2) + advance(3));
  other.end(advance(10));
  await two.promise;
  assert.deepEqual(log.sort(), ['+1', '+10']);
  log.length = 0;
  goOn.resolve();
  const answers = answersIn(await text(one));
  await text(other);
  assert.deepEqual(
    answers.map(({ body }) => body),
    ['{"now":"1"}\n', '{"now":"2"}\n', '{"now":"3"}\n'],
  );
  assert.deepEqual(
    log.filter((entry) => entry !== '-10'),
    ['-1', '+2', '-2', '+3', '-3'],
  );
});

test('bodies arrive however many requests are before them, and in whichever pieces', async (t) => {
  const { dial, lanes } = await listening(t);
  const batch = `${HOST_PATH}/processes/1/iommufds/3/ioases/2/batch`;
  lanes.onBatch = () => ok({ applied: 1, failed: 0, mappedBytes: '0x0', unmappedBytes: '0x0', errors: [] });
  lanes.onCommand = (command) => ok({ op: command.op });
  const socket = await dial();
  const received = text(socket);
  const large = JSON.stringify({ operations: [], padding: 'x'.repeat(100_000) });
  const all = Array.from({ length: 40 }, (_, index) => {
    if (index % 3 === 0) return ask(`POST ${batch}`, large);
    if (index % 3 === 1) return ask('GET /livez');
    return ask(`POST ${HOST_PATH}/crash`);
  });
  const lines = 'POST LINES HTTP/1.1\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n'
    .replace('LINES', batch)
    .concat(`host: x\r\nauthorization: Bearer ${KEY}\r\nconnection: close\r\n\r\n3\r\n{}\n\r\n0\r\n\r\n`);
  const bytes = Buffer.from(all.join('') + lines);
  const sent = (at: number) => new Promise<void>((done) => socket.write(bytes.subarray(at, at + 37_001), () => done()));
  for (let at = 0; at < bytes.length; at += 37_001) await sent(at);
  const answers = await received;
  assert.equal(answers.split('HTTP/1.1 200 ').length - 1, all.length + 1);
  assert.equal(lanes.batches.length, 15);
  assert.match(answers, /"acknowledged":[\s\S]*"done":true/);
});

test('a request whose body is on its way begins in its turn', async (t) => {
  const { dial, lanes } = await listening(t);
  const [begun, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  lanes.onCommand = async ({ op }) => {
    begun.resolve();
    await goOn.promise;
    return ok({ op });
  };
  const socket = await dial();
  const received = text(socket);
  const body = `{"advance":1${' '.repeat(12_000)}}`;
  const second = ask(`POST ${HOST_PATH}/clock`, body);
  socket.write(ask(`POST ${HOST_PATH}/crash`) + second.slice(0, 300));
  await begun.promise;
  socket.write(second.slice(300, 8_000));
  goOn.resolve();
  await once(socket, 'data');
  socket.end(second.slice(8_000));
  const answers = answersIn(await received);
  assert.deepEqual(
    answers.map(({ body }) => body),
    ['{"op":"crash"}\n', '{"op":"clock.advance"}\n'],
  );
});

test('a client that closes its side, since it has sent everything, is answered', async (t) => {
  const { app, dial, lanes } = await listening(t);
  const closed = Promise.withResolvers<void>();
  app.server.on('connection', (socket) => socket.once('end', closed.resolve));
  lanes.onCommand = async ({ op }) => {
    await closed.promise;
    return ok({ op });
  };
  const socket = await dial();
  socket.end(ask('GET /livez') + ask(`POST ${HOST_PATH}/crash`));
  const answers = answersIn(await text(socket));
  assert.deepEqual(
    answers.map(({ body }) => body),
    ['{"status":"ok"}\n', '{"op":"crash"}\n'],
  );
});

test('what is not HTTP is answered behind what came before it; a broken body at once', async (t) => {
  const { dial, lanes } = await listening(t);
  const goOn = Promise.withResolvers<void>();
  lanes.onCommand = async ({ op }) => {
    await goOn.promise;
    return ok({ op });
  };
  const socket = await dial();
  const received = text(socket);
  socket.write(`${ask(`POST ${HOST_PATH}/crash`)}${ask('GET /livez')}GARBAGE\r\n\r\n`);
  const broken = await dial();
  broken.write(ask(`POST ${HOST_PATH}/clock`).replace('\r\n\r\n', '\r\ntransfer-encoding: chunked\r\n\r\nGARBAGE'));
  assert.match(await text(broken), /^HTTP\/1\.1 400 [\s\S]*"detail":"This is not an HTTP request\."/);
  goOn.resolve();
  assert.deepEqual(
    answersIn(await received).map(({ status }) => status),
    [200, 200, 400],
  );
});

/** A server of nothing but connections. */
async function bare(t: TestContext, connections: Connections, handle: Parameters<Connections['createServer']>[0]) {
  const server = connections.createServer(handle);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const dial = (): Socket => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    t.after(() => socket.destroy());
    return socket;
  };
  return { server, dial };
}

test('a connection of which a request waits is not read', async (t) => {
  const REQUESTS = 20_000;
  let arrived = 0;
  let most = 0;
  const { server, dial } = await bare(t, new Connections(), ({ url }, response) => {
    most = Math.max(most, arrived - Number(url!.slice(1)));
    response.end();
  });
  server.on('request', () => {
    arrived += 1;
  });
  const socket = dial();
  const paths = Array.from({ length: REQUESTS }, (_, index) => `GET /${index} HTTP/1.1\r\nhost: x\r\n\r\n`);
  socket.end(paths.join(''));
  await text(socket);
  assert.equal(arrived, REQUESTS);
  // As many as are parsed at once.
  assert.ok(most < 50, `${most} have waited`);
});

test('a connection on which nobody reads an answer ends some time; one that is used in time does not', async (t) => {
  const unread = Promise.withResolvers<boolean>();
  const { dial } = await bare(t, new Connections({ unread: 50 }), ({ url }, response) => {
    if (url === '/huge') response.once('close', () => unread.resolve(response.writableFinished));
    response.end(url === '/huge' ? Buffer.alloc(64 << 20) : 'small');
  });
  const socket = dial();
  socket.pause();
  socket.write('GET /huge HTTP/1.1\r\nhost: x\r\n\r\n');
  assert.equal(await unread.promise, false);
  const reader = dial();
  reader.write('GET /small HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(2));
  for (let received = ''; received.split('small').length < 3; ) received += String((await once(reader, 'data'))[0]);
  assert.equal(reader.destroyed, false);
});

test('where too many requests wait, those who have sent them are cut off, and nobody else', async (t) => {
  const connections = new Connections();
  const { server, dial } = await bare(t, connections, ({ url }, response) => {
    if (url === '/quick') response.end('done');
  });
  const flood = 'GET /slow HTTP/1.1\r\n\r\n'.repeat(1900);
  const modest = dial();
  modest.write('GET /slow HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(2));
  const flooding = Array.from({ length: 200 }, dial);
  for (const socket of flooding) socket.resume().write(flood);
  await Promise.race(flooding.map((socket) => new Promise((cut) => socket.once('close', cut))));
  const other = dial();
  other.write('GET /quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  assert.match(await text(other), /done$/);
  assert.equal(modest.destroyed, false);
  server.closeAllConnections();
  await connections.idle();
});

/** When the service has ended the connection, whatever its client does. */
async function closedAtService(server: Server, open: () => Promise<Socket> | Socket): Promise<Promise<unknown>> {
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  await open();
  const [socket] = await accepted;
  return new Promise((resolve) => socket.once('close', resolve));
}

test('who is late with the head of a request is told, and the connection ends', async (t) => {
  const { app, dial } = await listening(t, { patience: { headers: 60, drain: 20 } });
  for (const begun of ['', 'GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: ']) {
    let received: Promise<string> = Promise.resolve('');
    await closedAtService(app.server, async () => {
      const socket = await dial();
      socket.write(begun);
      received = text(socket);
      return socket;
    });
    const [answer] = answersIn(await received);
    assert.equal(answer!.status, 408);
    assert.match(answer!.headers, /application\/problem\+json/i);
    assert.match(answer!.body, /"type":"\/problems\/request-timeout"/);
  }
});

test('who has sent what is not HTTP cannot keep the connection', async (t) => {
  const { app, dial } = await listening(t, { patience: { drain: 20 } });
  await closedAtService(app.server, async () => {
    const socket = await dial();
    socket.write('GARBAGE\r\n\r\n');
    return socket;
  });
});

test('a stream of an answer that nobody reads ends, one that is read slowly does not', async (t) => {
  const left = Promise.withResolvers<void>();
  const { dial } = await bare(t, new Connections({ unread: 60 }), (_request, response) => {
    response.once('close', () => left.resolve());
    Readable.from(endless(), { objectMode: false }).pipe(response);
  });
  const slow = dial();
  slow.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  const begun = performance.now();
  while (performance.now() - begun < 300) {
    await once(slow, 'data');
    slow.pause();
    await new Promise(setImmediate);
    slow.resume();
  }
  assert.equal(slow.destroyed, false);
  slow.pause();
  await left.promise;

  function* endless(): Generator<Buffer> {
    for (const chunk = Buffer.alloc(64 << 10, 'x'); ; ) yield chunk;
  }
});
