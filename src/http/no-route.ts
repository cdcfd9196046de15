/** Answers requests that no route takes: with the path that was probably meant, or the methods that the path has. */
import type { FastifyRequest } from 'fastify';
import { nearest } from '../nearest.ts';
import { notFound } from './answers.ts';
import { Problem } from './problems.ts';
import { ROUTES } from './routes.ts';

const PROCESS = '/v1/hosts/{host}/processes/{pid}';
/** How many characters of a path are shown. */
const SHOWN = 200;

const patternOf = (template: string, end = '$'): RegExp =>
  new RegExp(`^${template.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}${end}`);

const PATTERNS = [
  ...ROUTES.map(({ method, path }) => ({ method, pattern: patternOf(path) })),
  { method: 'GET', pattern: /^(\/openapi\.json|\/docs(\/.*)?|\/console(\/.*)?)$/ },
];

/** Paths that end with a descriptor. DELETE of one of them is answered with the one path that closes descriptors. */
const DESCRIPTORS = ROUTES.flatMap(({ path }) =>
  [...path.matchAll(/\{(fd|access)\}/g)].map((found) => patternOf(path.slice(0, found.index + found[0].length))),
);
const IN_PROCESS = patternOf(PROCESS, '');

export function noRoute({ url, method }: FastifyRequest): Problem {
  const path = url.split('?', 1)[0]!;
  const allowed: string[] = PATTERNS.filter(({ pattern }) => pattern.test(path)).map((entry) => entry.method);
  const closes = method === 'DELETE' && DESCRIPTORS.some((pattern) => pattern.test(path));
  // Below /docs not every path is a page.
  const isMissing = allowed.includes(method === 'HEAD' ? 'GET' : method);
  if ((allowed.length > 0 && !isMissing) || closes) {
    const allow = [...new Set(allowed)].join(', ');
    const has = allow === '' ? '' : `: it has ${allow}`;
    const advice = closes ? ` A descriptor is closed by DELETE ${descriptorPath(path)}.` : '';
    return new Problem('method-not-allowed', `This path has no ${method}${has}.${advice}`, { headers: { allow } });
  }
  const shown = path.length > SHOWN ? `${path.slice(0, SHOWN)}…` : path;
  const meant = nearestPath(path);
  const advice = meant === undefined ? '' : ` The nearest is ${meant}.`;
  return notFound(
    `There is no path ${shown}.${advice} GET /openapi.json lists all, /docs shows them, /console is for people.`,
  );
}

const descriptorPath = (path: string): string =>
  `${IN_PROCESS.exec(path)![0]}/descriptors/${path.slice(path.lastIndexOf('/') + 1)}`;

const TEMPLATES = [...new Set(ROUTES.map(({ path }) => path)), '/openapi.json', '/docs', '/console'].map((path) => ({
  path,
  parts: path.slice(1).split('/'),
}));
const LITERALS = [...new Set(TEMPLATES.flatMap(({ parts }) => parts))].filter((part) => !part.startsWith('{'));

/**
 * Costs of the changes that turn a path into one of the API, part by part. A path that costs more than `most` is not
 * near.
 */
const COST = { parameter: 0.05, otherCase: 0.1, typo: 0.3, left: 0.45, added: 1.5, nothingAdded: 0.1, most: 2 };
/** The most parts of a path, and characters of a part, for which a near path is looked for. */
const LONGEST = 16;
const LONGEST_PART = 24;

function nearestPath(path: string): string | undefined {
  const asked = path.slice(1).split('/', LONGEST + 1);
  if (asked.length > LONGEST) return undefined;
  const likes = asked.map(likeness);
  let best: { path: string; cost: number } | undefined;
  for (const template of TEMPLATES) {
    if (!template.parts.some((part) => likes.some((like) => like.has(part)))) continue;
    const cost = costOf(asked, likes, template.parts);
    if (cost < (best?.cost ?? COST.most)) best = { path: template.path, cost };
  }
  return best?.path;
}

/** The literal parts that a part looks like, each with the cost of the difference. */
function likeness(asked: string): Map<string, number> {
  const like = new Map<string, number>();
  if (asked.length > LONGEST_PART) return like;
  for (const literal of LITERALS) {
    if (asked === literal) like.set(literal, 0);
    else if (asked.toLowerCase() === literal) like.set(literal, COST.otherCase);
    else if (nearest(asked, [literal]) !== undefined) like.set(literal, COST.typo);
  }
  return like;
}

/** The least cost of all ways to add the parts that were left out and to remove those that were added. */
function costOf(asked: readonly string[], likes: readonly Map<string, number>[], parts: readonly string[]): number {
  /** Costs by how many of `parts` are reached; `inBoth`: where the last part reached is one of the asked path, too. */
  let costs = [0, ...parts.map((_, index) => (index + 1) * COST.left)];
  let inBoth = [0, ...parts.map(() => Infinity)];
  for (const [row, part] of asked.entries()) {
    const added = part === '' ? COST.nothingAdded : COST.added;
    const next = [costs[0]! + added];
    const nextInBoth = [Infinity];
    for (const [column, wanted] of parts.entries()) {
      // An id only counts behind the name of its collection: else it is the id of something else.
      const both = wanted.startsWith('{')
        ? inBoth[column]! + (part === '' ? Infinity : COST.parameter)
        : costs[column]! + (likes[row]!.get(wanted) ?? Infinity);
      nextInBoth.push(both);
      next.push(Math.min(both, next[column]! + COST.left, costs[column + 1]! + added));
    }
    costs = next;
    inBoth = nextInBoth;
  }
  return costs.at(-1)!;
}
