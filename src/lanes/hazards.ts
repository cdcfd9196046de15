/** The hazards of a command, which go with its answer. */
import type { Answer, CausedEvent, EmittedEvent } from '../host/command.ts';
import { MAX_LISTED } from '../limits.ts';

/** The answer to the command of that place in the journal, with the hazards among its events. */
export function withHazards(answer: Answer, sequence: number, events: readonly EmittedEvent[]): Answer {
  if (!events.some(isHazard)) return answer;
  const hazards = events.map((event, index): CausedEvent => ({ ...event, sequence, index })).filter(isHazard);
  return { ...answer, hazards: hazards.slice(0, MAX_LISTED) };
}

/** An answer that tells the hazards of what came before, too. */
export function withEarlier(answer: Answer, { hazards: earlier = [] }: Answer): Answer {
  if (earlier.length === 0) return answer;
  return { ...answer, hazards: [...earlier, ...(answer.hazards ?? [])].slice(0, MAX_LISTED) };
}

const isHazard = ({ kind }: EmittedEvent): boolean => kind === 'hazard';
