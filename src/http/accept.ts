/** Which of several forms of an answer a client would rather have (RFC 9110, 12.5.1). */

/** Whether text for people is preferred to JSON: only if the header Accept says so. */
export const prefersText = (accept?: string): boolean => isAboveJson(['text/plain', 'text/*', '*/*'], accept);

/** Whether a page is preferred to JSON: only if the header Accept says so, as that of browsers does. */
export const prefersPage = (accept?: string): boolean => isAboveJson(['text/html', 'text/*', '*/*'], accept);

/** Whether lines of JSON, one by one, are preferred to a whole: only if the header Accept says so. */
export const prefersLines = (accept?: string): boolean => isAboveJson([LINES, '*/*'], accept);

/** The type of answers that come a line at a time. */
export const LINES = 'application/x-ndjson';

const isAboveJson = (ranges: readonly string[], accept = '*/*'): boolean =>
  quality(accept, ranges) > quality(accept, ['application/json', 'application/*', '*/*']);

/** Of the most specific of these ranges that the header names; 0: it names none. */
function quality(accept: string, ranges: readonly string[]): number {
  const given = accept.split(',').map((part) => part.split(';').map((piece) => piece.trim().toLowerCase()));
  for (const range of ranges) {
    const found = given.find(([type]) => type === range);
    if (found === undefined) continue;
    const weight = found.find((piece) => piece.startsWith('q='));
    return weight === undefined ? 1 : Number(weight.slice(2)) || 0;
  }
  return 0;
}
