/** Heads of requests that Node lets through, or would refuse without a word: through sockets, as no client sends them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { MAX_HEAD, MAX_URL } from '../../src/limits.ts';
import { answersIn, HOST_PATH, type Listening, listening, problemsIn, requestOf, untilEnd } from './sockets.ts';

/** What a service answers to a request that closes its side. */
async function answered({ dial }: Listening, request: string): Promise<string> {
  const socket = await dial();
  socket.end(request);
  const answers = answersIn(await text(socket));
  for (const { status, headers } of answers)
    assert.match(headers, status < 400 ? /json/ : /content-type: application\/problem\+json/i, request);
  return answers.map((answer) => (answer.status < 400 ? answer.status : problemsIn([answer])[0])).join();
}

const livez = (...headers: string[]): string => `GET /livez HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`;

test('a request names its host once, and with a name', async (t) => {
  const service = await listening(t);
  const cases: [string, string][] = [
    [livez('Host: x'), '200'],
    [livez('Host: [::1]:8080'), '200'],
    [livez('Host: a-b_c.example:80'), '200'],
    [livez('Host:'), '200'],
    ['GET /livez HTTP/1.0\r\n\r\n', '200'],
    ['GET http://elsewhere/livez HTTP/1.1\r\nHost: x\r\n\r\n', '200'],
    [livez('Accept: */*'), '400 invalid-request'],
    [livez('Host: x', 'Host: x'), '400 invalid-request'],
    [livez('Host: x', 'hOST: y'), '400 invalid-request'],
    [livez('Host: x/y'), '400 invalid-request'],
    [livez('Host: x y'), '400 invalid-request'],
    [livez('Host: x@y'), '400 invalid-request'],
    [livez('Host: x:port'), '400 invalid-request'],
  ];
  for (const [request, answer] of cases) assert.equal(await answered(service, request), answer, request);
  // In its turn.
  const pipelined = requestOf(`POST ${HOST_PATH}/crash`) + livez('Accept: */*') + livez('Host: x');
  assert.equal(await answered(service, pipelined), '200,400 invalid-request,200');
});

test('what is expected, and how a body is transferred, has to be known', async (t) => {
  const service = await listening(t);
  const clock = `POST ${HOST_PATH}/clock`;
  const chunked = (coding: string): string =>
    `${requestOf(clock, undefined, { 'content-type': 'application/json', 'transfer-encoding': coding })}`;
  const chunks = 'd\r\n{"advance":1}\r\n0\r\n\r\n';
  assert.equal(await answered(service, chunked('chunked') + chunks), '200');
  assert.equal(await answered(service, chunked('Chunked') + chunks), '200');
  assert.equal(await answered(service, chunked('gzip, chunked') + chunks), '501 unknown-coding');
  assert.equal(await answered(service, requestOf(clock, '{}', { expect: 'miracles' })), '417 expectation-failed');
  assert.equal(await answered(service, 'GET /livez HTTP/1.0\r\nExpect: miracles\r\n\r\n'), '200');
  assert.deepEqual(service.lanes.commands.length, 2);
});

test('a client that waits for leave to send its body gets it, or the refusal, before it has sent any', async (t) => {
  const { dial, lanes } = await listening(t);
  const expecting = (body: string, path = `${HOST_PATH}/clock`, headers = {}): string =>
    requestOf(`POST ${path}`, body, { expect: '100-continue', ...headers }).slice(0, -body.length);
  const body = '{"advance":1}';
  const socket = await dial();
  socket.write(expecting(body));
  assert.equal(String((await once(socket, 'data'))[0]), 'HTTP/1.1 100 Continue\r\n\r\n');
  socket.end(body);
  assert.match(await text(socket), /^HTTP\/1\.1 200 /);
  assert.equal(lanes.commands.length, 1);
  const refusals: [string, string][] = [
    [expecting('x'.repeat(1 << 20)), '413 body-too-large'],
    [expecting(body, '/v1/hosts', { authorization: 'Bearer nobody' }), '401 unauthenticated'],
    [expecting(body, '/nowhere'), '404 not-found'],
    [expecting(body, undefined, { 'content-encoding': 'gzip' }), '415 unsupported-media-type'],
  ];
  for (const [request, problem] of refusals) {
    const refused = await dial();
    refused.write(request);
    assert.deepEqual(problemsIn(await untilEnd(refused)), [problem]);
  }
});

test('a URL that is too long is 414, headers that are too large are 431, and a tunnel there is none', async (t) => {
  const service = await listening(t);
  const cases: [string, string][] = [
    [`GET /livez?${'x'.repeat(MAX_URL)} HTTP/1.1\r\nhost: x\r\n\r\n`, '414 path-too-long'],
    [`GET /livez?${'x'.repeat(MAX_HEAD)} HTTP/1.1\r\nhost: x\r\n\r\n`, '414 path-too-long'],
    [livez('host: x', `x: ${'x'.repeat(MAX_HEAD)}`), '431 headers-too-large'],
    ['CONNECT elsewhere:443 HTTP/1.1\r\nhost: elsewhere:443\r\n\r\n', '400 invalid-request'],
  ];
  for (const [request, answer] of cases) assert.equal(await answered(service, request), answer, request.slice(0, 40));
});

test('the development mode answers those who call it by a name of this machine, with its port', async (t) => {
  const { port, ask } = await listening(t, { dev: true });
  const asHost = (host: string) => ask('get', '/livez', undefined, null).set('host', host);
  for (const host of ['127.0.0.1', 'localhost', 'LocalHost', '127.1.2.3', '[::1]'])
    assert.equal((await asHost(`${host}:${port}`)).status, 200, host);
  const others = [`evil.example:${port}`, 'localhost', `localhost:${port + 1}`, `localhost.evil.example:${port}`];
  for (const host of [...others, `127.0.0.1.evil.example:${port}`, '', `10.0.0.1:${port}`]) {
    const { status, body } = await asHost(host);
    assert.equal(status, 421, host);
    assert.equal(body.type, '/problems/wrong-host');
    assert.match(body.detail, new RegExp(`localhost:${port}, .*without --dev`));
  }
  for (const path of ['/docs/', '/v1/hosts', '/nowhere'])
    assert.equal((await ask('get', path).set('host', `evil.example:${port}`)).status, 421, path);
});

test('without it any name will do', async (t) => {
  const { ask } = await listening(t);
  assert.equal((await ask('get', '/v1/hosts').set('host', 'holdover.example')).status, 200);
});
