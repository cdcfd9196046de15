/** A file has one job; one of more lines than this says in its head why they belong together. */
import { parseSync } from 'oxc-parser';
import type { Repository } from './repository.ts';

const MOST_LINES = 400;
/** Begins the sentence of the head comment that gives the reason. */
const REASON = 'Long because';

export function checkLengths(repository: Repository): string[] {
  return repository.paths(['src/'], '.ts').flatMap((file) => {
    const text = repository.text(file);
    const lines = text.trimEnd().split('\n').length;
    const [head] = parseSync(file, text).comments;
    if (lines <= MOST_LINES || (head?.start === 0 && head.value.includes(REASON))) return [];
    return [
      `${file} has ${lines} lines, more than ${MOST_LINES}: take a job out of it, or say in its first comment, in a sentence that begins with "${REASON}", why it cannot be less`,
    ];
  });
}
