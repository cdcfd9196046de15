/** What was acknowledged, and is not there any more. */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Service } from '../support/service.ts';
import type { Acknowledged } from './attacker.ts';
import { NUMBER_BYTES, WITNESS_BYTES, type Witness } from './witness.ts';

/** Hosts, and commands of them, that the stopped service's database does not have: a sentence each. */
export function missing(directory: string, hosts: Record<string, Acknowledged>): string[] {
  const database = new Database(join(directory, 'holdover.db'), { readonly: true });
  const there = database.prepare("SELECT 1 FROM hosts WHERE id = ? AND deleted IS NOT 'deleted'");
  const last = database.prepare<[string], { sequence: number | null }>(
    'SELECT max(sequence) AS sequence FROM journal JOIN hosts USING (serial) WHERE id = ?',
  );
  const lost: string[] = [];
  for (const [id, { commands, deleted }] of Object.entries(hosts)) {
    if (deleted) continue;
    if (there.get(id) === undefined) lost.push(`host ${id} is not there`);
    const sequence = last.get(id)?.sequence ?? 0;
    if (sequence < commands) lost.push(`host ${id} has ${sequence} commands, ${commands} were acknowledged`);
  }
  database.close();
  return lost;
}

/** Numbers that the quiet tenant's host does not have any more. */
export async function witnessed(service: Service, key: string, { path, acknowledged }: Witness): Promise<string[]> {
  const calls = [{ call: 'pread', fd: 3, offset: 0, length: WITNESS_BYTES }];
  const { status, body } = await service.request('POST', path, { calls }, key);
  if (status !== 200) return [`the quiet host answers ${status} after a restart`];
  const { results } = body as { results: { data: string }[] };
  const bytes = Buffer.from(results[0]!.data, 'base64');
  const lost = acknowledged.filter((number) => bytes.readUInt32LE(number * NUMBER_BYTES) !== number);
  return lost.length === 0 ? [] : [`the quiet host has lost ${lost.length} acknowledged writes`];
}
