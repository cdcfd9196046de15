/** What an answer is compared by when a journal is replayed. */
import { createHash, hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Answer } from '../host/command.ts';
import { LARGE } from '../limits.ts';
import { addInPieces, type Form } from './json-pieces.ts';

/**
 * Left out wherever they are: `why`, as a sentence may be put better by a later version, while errno, place and values
 * may not change; and what an earlier version did not tell, as its hosts have to go on: what views of a device repeat of its
 * description, the signal that goes with EFAULT, what was handed over by a kexec, where devices and descriptors stand
 * in sessions, which fault has struck, and how often one has.
 */
const LEFT_OUT: ReadonlySet<string> = new Set([
  'why',
  'signal',
  'reset',
  'sriov',
  'physicalFunction',
  'realDmaDevice',
  'handedOver',
  'struck',
  'times',
  'preservedIn',
]);

/** `liveupdate` of a device, not the boot option of this name; `fault` as the number of one, not what a DMA was refused for. */
const isLeftOut = (name: string, value: unknown): boolean =>
  LEFT_OUT.has(name) ||
  value === undefined ||
  (name === 'liveupdate' && typeof value !== 'boolean') ||
  (name === 'fault' && typeof value === 'number');

/**
 * SHA-256 of an answer in canonical JSON (keys sorted), in hexadecimal. With a payload, its checksum is in it: a changed
 * one may lead to the same answer.
 */
export function digest(answer: Answer, payload?: Uint8Array): string {
  const text = canonical(answer);
  return hash('sha256', payload === undefined ? text : `${text} ${crc32(payload)}`, 'hex');
}

/** The same of a large answer, in steps. */
export function* digesting(answer: Answer): Generator<void, string> {
  const whole = createHash('sha256');
  let piece = '';
  yield* addInPieces(answer, CANONICAL, (text) => {
    piece += text;
    if (piece.length < LARGE) return;
    whole.update(piece);
    piece = '';
  });
  return whole.update(piece).digest('hex');
}

const CANONICAL: Form = {
  names: (object) =>
    Object.keys(object)
      .sort()
      .filter((name) => !isLeftOut(name, object[name])),
  text: canonical,
};

const hasNoFields = (value: unknown): boolean => value === null || typeof value !== 'object';

/** As JSON.stringify writes it, but for the order. */
function canonical(value: unknown): string {
  if (hasNoFields(value)) return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value))
    return value.every(hasNoFields) ? JSON.stringify(value) : `[${value.map(canonical).join()}]`;
  const object = value as Record<string, unknown>;
  let text = '{';
  for (const name of Object.keys(object).sort()) {
    if (isLeftOut(name, object[name])) continue;
    text += `${text === '{' ? '' : ','}${JSON.stringify(name)}:${canonical(object[name])}`;
  }
  return `${text}}`;
}
