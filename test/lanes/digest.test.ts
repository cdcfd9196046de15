/** By what answers are compared at a replay: hosts that an earlier version made have to go on. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import type { Command, HostSpec } from '../../src/host/command.ts';
import { decodeCommand } from '../../src/lanes/codec.ts';
import { digest } from '../../src/lanes/digest.ts';
import { makeHost } from '../../src/lanes/engine.ts';

/** A whole live update and all that is done to devices, as the first version journaled them. */
const EARLIER = new URL('../fixtures/live-update-of-0.1.journal.jsonl', import.meta.url);

test('a large answer has the digest of its whole text', () => {
  const data = 'A'.repeat(100_000);
  const results = Array.from({ length: 30 }, (_, index) => ({
    why: 'left out',
    ret: index,
    data,
    arg: { b: [1, {}], a: [] },
  }));
  const items = results.map(({ ret }) => `{"arg":{"a":[],"b":[1,{}]},"data":"${data}","ret":${ret}}`);
  const text = `{"kind":"ok","value":{"results":[${items.join()}]}}`;
  assert.equal(digest({ kind: 'ok', value: { results } }), hash('sha256', text, 'hex'));
  const payload = new Uint8Array([1, 2, 3]);
  assert.equal(digest({ kind: 'ok', value: { results } }, payload), hash('sha256', `${text} ${crc32(payload)}`, 'hex'));
});

test('the history of an earlier version is answered as it was', async () => {
  const [first, ...entries] = readFileSync(EARLIER, 'utf8').trimEnd().split('\n');
  const host = makeHost((JSON.parse(first!) as { spec: HostSpec }).spec);
  let handover: string | null = null;
  for (const entry of entries) {
    const { command, digest: expected } = JSON.parse(entry) as { command: object; digest: string };
    const { answer, records } = host.execute(
      (await decodeCommand(JSON.stringify(command), async () => handover)) as Command,
    );
    for (const record of records) if (record.kind === 'handover') handover = record.text;
    assert.equal(digest(answer), expected, `${JSON.stringify(command)}: ${JSON.stringify(answer)}`);
  }
});
