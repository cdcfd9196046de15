/** By what answers are compared at a replay: hosts that an earlier version made have to go on. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Command, HostSpec } from '../../src/host/command.ts';
import { decodeCommand } from '../../src/lanes/codec.ts';
import { digest } from '../../src/lanes/digest.ts';
import { makeHost } from '../../src/lanes/engine.ts';

/** A whole live update and all that is done to devices, as the first version journaled them. */
const EARLIER = new URL('../fixtures/live-update-of-0.1.journal.jsonl', import.meta.url);

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
