/** Bodies that are not plain JSON in UTF-8. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixture, HOST, KEY } from '../fixture.ts';

const CLOCK = `/v1/hosts/${HOST}/clock`;
const BATCH = `/v1/hosts/${HOST}/processes/1/iommufds/3/ioases/2/batch`;

test('a charset is UTF-8 or a part of it, and there are no other codings', async (t) => {
  const { app, lanes } = await fixture(t);
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const send = (type: string, encoding?: string, path = CLOCK) =>
    fetch(`${url}${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${KEY}`,
        'content-type': type,
        ...(encoding && { 'content-encoding': encoding }),
      },
      body: '{"advance":1}',
    });
  for (const type of ['application/json', 'application/json; charset=UTF-8', 'application/json;charset="utf8"'])
    assert.equal((await send(type)).status, 200, type);
  assert.equal((await send('application/json', 'identity')).status, 200);
  assert.equal(lanes.commands.length, 4);
  for (const path of [CLOCK, BATCH])
    for (const charset of ['latin1', 'iso-8859-1', 'utf-16', '"utf-16le"']) {
      const answer = await send(`application/json; charset=${charset}`, undefined, path);
      assert.equal(answer.status, 415, charset);
      assert.match(((await answer.json()) as { detail: string }).detail, /UTF-8/);
    }
  for (const path of [CLOCK, BATCH])
    for (const encoding of ['gzip', 'br', 'identity, gzip', 'x']) {
      const answer = await send('application/json', encoding, path);
      assert.equal(answer.status, 415, encoding);
      assert.equal(answer.headers.get('accept-encoding'), 'identity');
    }
  assert.equal((await send('application/x-ndjson; charset=latin1', undefined, BATCH)).status, 415);
  assert.equal((await send('application/x-ndjson', 'gzip', BATCH)).status, 415);
  assert.equal(lanes.commands.length, 4);
  assert.deepEqual(lanes.batches, []);
});

test('bytes that are not UTF-8 are 400, wherever they stand', async (t) => {
  const { app, lanes } = await fixture(t);
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const bodies = [
    Buffer.from('{"advance":"1\xff"}', 'latin1'),
    Buffer.from('{"\xc3":1}', 'latin1'),
    // A surrogate by itself.
    Buffer.from('{"advance":"\xed\xa0\x80"}', 'latin1'),
  ];
  const types = { [CLOCK]: ['application/json'], [BATCH]: ['application/json', 'application/x-ndjson'] };
  for (const [path, ofPath] of Object.entries(types))
    for (const type of ofPath)
      for (const body of bodies) {
        const headers = { authorization: `Bearer ${KEY}`, 'content-type': type };
        const answer = await fetch(`${url}${path}`, { method: 'POST', headers, body });
        assert.equal(answer.status, 400);
        const { type: kind, detail } = (await answer.json()) as { type: string; detail: string };
        assert.deepEqual([kind, /UTF-8/.test(detail)], ['/problems/malformed-body', true]);
      }
  assert.deepEqual([lanes.commands, lanes.batches], [[], []]);
});

test('a body that is no JSON leaves its connection open', async (t) => {
  const { ask } = await fixture(t);
  const { status, headers } = await ask('post', CLOCK, '{').type('json').set('connection', 'keep-alive');
  assert.deepEqual([status, headers.connection], [400, 'keep-alive']);
});
