/**
 * The floor of `call-latency` and `replay-nvme`, the least that could do it: a bare Fastify that checks the same body with zod, commits a row of
 * that size as the service does (WAL, no fsync), and answers as much.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { fastify } from 'fastify';
import { z } from 'zod';
import { temporaryDirectory } from './harness.ts';

const Body = z.strictObject({
  calls: z
    .array(
      z.strictObject({
        call: z.literal('ioctl'),
        fd: z.int(),
        request: z.string(),
        arg: z.record(z.string(), z.union([z.int(), z.string()])),
      }),
    )
    .max(1000),
});

const directory = temporaryDirectory('bare');
process.once('SIGTERM', () => {
  rmSync(directory, { recursive: true, force: true });
  process.exit();
});
const database = new Database(join(directory, 'bare.db'));
database.pragma('journal_mode = WAL');
database.pragma('synchronous = NORMAL');
database.exec('CREATE TABLE journal (sequence INTEGER PRIMARY KEY, command TEXT, digest TEXT) STRICT');
const insert = database.prepare('INSERT INTO journal (command, digest) VALUES (?, ?)');
database.exec('CREATE TABLE batches (sequence INTEGER PRIMARY KEY, payload BLOB, digest TEXT) STRICT');
const insertBatch = database.prepare('INSERT INTO batches (payload, digest) VALUES (?, ?)');
/** Bytes of an operation: an IOVA, a length, an address. */
const PACKED = 24;
const digest = randomBytes(32).toString('hex');

const app = fastify();
app.post('/calls', async (request) => {
  const { calls } = Body.parse(request.body);
  insert.run(JSON.stringify({ op: 'calls', pid: 1, calls }), digest);
  return { results: calls.map(({ arg }) => ({ ret: 0, arg: { iova: arg.iova } })) };
});
/** A batch: parsed, and as many bytes as it has packed are committed. */
app.post('/batch', async (request) => {
  const { operations } = request.body as { operations: unknown[] };
  insertBatch.run(Buffer.alloc(PACKED * operations.length, 1), digest);
  return { applied: operations.length };
});
process.stdout.write(`${await app.listen({ host: '127.0.0.1', port: 0 })}\n`);
