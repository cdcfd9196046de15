/** What an answer is compared by when a journal is replayed. */
import { createHash, type Hash, hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Answer } from '../host/command.ts';
import { LARGE } from '../limits.ts';

/**
 * Left out wherever they are: `why`, as a sentence may be put better by a later version, while errno, place and values
 * may not change; and what views of a device repeat of its description, which no command changes: an earlier version
 * did not tell it, and its hosts have to go on. So with the signal that goes with EFAULT.
 */
const LEFT_OUT: ReadonlySet<string> = new Set(['why', 'signal', 'reset', 'sriov', 'physicalFunction', 'realDmaDevice']);

/**
 * SHA-256 of an answer in canonical JSON (keys sorted), in hexadecimal. With a payload, its checksum is in it: a changed
 * one may lead to the same answer.
 */
export function digest(answer: Answer, payload?: Uint8Array): string {
  const text = new HashedText();
  addCanonical(answer, text);
  if (payload !== undefined) text.add(` ${crc32(payload)}`);
  return text.end();
}

/** A text of which no more than a piece is ever put together: a large one would take ten times as long. */
class HashedText {
  #piece = '';
  #hash: Hash | undefined;

  add(text: string): void {
    this.#piece += text;
    if (this.#piece.length < LARGE) return;
    this.#hash ??= createHash('sha256');
    this.#hash.update(this.#piece);
    this.#piece = '';
  }

  /** SHA-256 of all of it, in hexadecimal. */
  end(): string {
    return this.#hash === undefined ? hash('sha256', this.#piece, 'hex') : this.#hash.update(this.#piece).digest('hex');
  }
}

/** Adds the canonical text, that of a list item by item. */
function addCanonical(value: unknown, text: HashedText): void {
  if (Array.isArray(value)) {
    text.add('[');
    for (const [index, item] of value.entries()) text.add(index === 0 ? canonical(item) : `,${canonical(item)}`);
    text.add(']');
    return;
  }
  if (value === null || typeof value !== 'object') {
    text.add(canonical(value));
    return;
  }
  const object = value as Record<string, unknown>;
  let mark = '{';
  for (const name of Object.keys(object).sort()) {
    if (LEFT_OUT.has(name) || object[name] === undefined) continue;
    text.add(`${mark}${JSON.stringify(name)}:`);
    addCanonical(object[name], text);
    mark = ',';
  }
  text.add(mark === '{' ? '{}' : '}');
}

/** As JSON.stringify writes it, but for the order. */
function canonical(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  const object = value as Record<string, unknown>;
  let text = '{';
  for (const name of Object.keys(object).sort()) {
    if (LEFT_OUT.has(name) || object[name] === undefined) continue;
    text += `${text === '{' ? '' : ','}${JSON.stringify(name)}:${canonical(object[name])}`;
  }
  return `${text}}`;
}
