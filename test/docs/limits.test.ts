/** The page of the configuration has the limits that the service keeps. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { LINES_MEMORY } from '../../src/http/batch-lines.ts';
import { UNREAD_SECONDS } from '../../src/http/watchers.ts';
import * as limits from '../../src/limits.ts';
import { ROOT } from './paste.ts';

const MIB = 1 << 20;
const page = readFileSync(`${ROOT}docs/configuration.md`, 'utf8');
const section = page.slice(page.indexOf('## Limits'), page.indexOf('## Health'));
const rows = [...section.matchAll(/^\| (.*?) \| (.*?) \| (.*?) \|$/gm)].map(([, what, most, then]) => ({
  what,
  most,
  then,
}));

test('each limit that has no variable is told as it is', () => {
  const most = (what: string): string => rows.find((row) => row.what === what)?.most ?? assert.fail(`no ${what}`);
  const kib = (bytes: number): string => `${bytes / 1024} KiB`;
  const seconds = (milliseconds: number): string => `${milliseconds / 1000} s`;
  const count = (value: number): string => value.toLocaleString('en');
  assert.equal(most('line of a batch sent as lines'), kib(limits.MAX_LINE));
  assert.equal(most('URL'), kib(limits.MAX_URL));
  assert.equal(most('line and headers of a request'), kib(limits.MAX_HEAD));
  assert.equal(most('time for the line and the headers of a request'), seconds(limits.HEADERS_MS));
  assert.equal(most('time between requests of a connection'), seconds(limits.KEEP_ALIVE_MS));
  assert.equal(most('time for which a client does not read an answer'), seconds(limits.UNREAD_MS));
  assert.equal(UNREAD_SECONDS * 1000, limits.UNREAD_MS);
  assert.equal(
    most('time for the rest of a body that nobody reads, as its request has been refused'),
    seconds(limits.DRAIN_MS),
  );
  assert.equal(most('requests that wait so on all connections'), count(limits.MAX_WAITING));
  const held = 'bytes that have arrived and wait for their turn to be parsed, those of all connections';
  assert.equal(most(held), `${limits.MAX_HELD / MIB} MiB`);
  assert.equal(most('connections'), count(limits.MAX_CONNECTIONS));
  const lane = `${count(limits.LANE_COMMANDS)}, and ${limits.LANE_BYTES / MIB} MiB`;
  assert.equal(most('commands that wait in a lane, and their bytes'), lane);
  assert.ok(rows.some(({ then }) => then === `connections with more than ${limits.FEW} are cut off`));
  assert.ok(rows.some(({ what }) => what?.includes(`of more than ${kib(limits.LARGE)},`)));
  assert.ok(section.includes(`which count as ${LINES_MEMORY / MIB} MiB each`));
  assert.ok(section.includes(`by up to ${limits.READERS} threads`));
});
