/** Large answers leave the lane packed: whoever hands them on need not look into them. */
import type { Answer } from '../host/command.ts';
import { LARGE } from '../limits.ts';
import { isPacked, pack } from '../threads/packed.ts';

/** The answer, whose value is packed if it is large. */
export function packLarge(answer: Answer): Answer {
  return answer.kind === 'ok' && roomLeft(answer.value, LARGE) < 0 ? { kind: 'ok', value: pack(answer.value) } : answer;
}

/** What of an answer is given away. */
export function packedIn(answer: unknown): readonly ArrayBuffer[] {
  const { value } = (answer ?? {}) as { value?: unknown };
  return isPacked(value) ? [value.buffer] : [];
}

/** What is left of the room behind a value, about: negative if it has no room. It looks no further than that. */
function roomLeft(value: unknown, room: number): number {
  if (typeof value === 'string') return room - value.length - 2;
  if (typeof value !== 'object' || value === null) return room - 4;
  let left = room - 2;
  for (const name in value) {
    left = roomLeft((value as Record<string, unknown>)[name], left - 4);
    if (left < 0) break;
  }
  return left;
}
