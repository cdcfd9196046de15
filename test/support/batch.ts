/** Batches over HTTP. */
import assert from 'node:assert/strict';
import type { BatchResult, BatchView } from '../../src/host/batch/execution.ts';
import type { TestApp } from './app.ts';
import type { Process } from './process.ts';

export type Operation = Record<string, unknown>;
export type BatchAnswer = BatchView & { results?: BatchResult[] };

export interface ProgressLine {
  acknowledged: number;
  applied: number;
  failed: number;
  mappedBytes: string;
  unmappedBytes: string;
  errors: BatchView['errors'];
  results?: BatchResult[];
  done?: true;
  problem?: { status: number; detail: string; errors?: { pointer: string }[] };
}

/** Where batches of one IOAS go to. */
export interface Target {
  app: TestApp;
  process: Process;
  iommufd: number;
  ioas: number;
}

export const LINES = 'application/x-ndjson';

export function urlOf({ app, process: { host, pid }, iommufd, ioas }: Target, query = ''): string {
  return `${app.url}/v1/hosts/${host.id}/processes/${pid}/iommufds/${iommufd}/ioases/${ioas}/batch${query}`;
}

/** Any body, and whatever is answered. */
export async function send(target: Target, body: string | null, type = 'application/json', query = '') {
  const headers = { authorization: `Bearer ${target.app.key}`, ...(type === '' ? {} : { 'content-type': type }) };
  const answer = await fetch(urlOf(target, query), { method: 'POST', headers, body });
  return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text() };
}

/** A batch in JSON that is not refused as a whole. */
export async function batch(target: Target, body: Record<string, unknown>): Promise<BatchAnswer> {
  const { status, text } = await send(target, JSON.stringify(body));
  assert.equal(status, 200, text);
  return JSON.parse(text) as BatchAnswer;
}

export const linesOf = (operations: readonly Operation[]): string =>
  operations.map((operation) => `${JSON.stringify(operation)}\n`).join('');

export const progressOf = (text: string): ProgressLine[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as ProgressLine);

/** Operations as lines; the lines of the answer. */
export async function stream(target: Target, operations: readonly Operation[], query = ''): Promise<ProgressLine[]> {
  const { status, type, text } = await send(target, linesOf(operations), LINES, query);
  assert.equal(status, 200, text);
  assert.equal(type, LINES);
  return progressOf(text);
}
