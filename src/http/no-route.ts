/** What is said to requests that no route takes: the path that was meant, or the methods that there are. */
import type { FastifyRequest } from 'fastify';
import { nearest } from '../nearest.ts';
import { notFound } from './answers.ts';
import { Problem } from './problems.ts';
import { ROUTES } from './routes.ts';

const PROCESS = '/v1/hosts/{host}/processes/{pid}';
/** Characters of the path that are shown. */
const SHOWN = 200;

const patternOf = (template: string, end = '$'): RegExp =>
  new RegExp(`^${template.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}${end}`);

const PATTERNS = [
  ...ROUTES.map(({ method, path }) => ({ method, pattern: patternOf(path) })),
  { method: 'GET', pattern: /^(\/openapi\.json|\/docs(\/.*)?)$/ },
];

/** Where descriptors are, whatever they can be asked there: all of them are closed in one way. */
const DESCRIPTORS = ROUTES.flatMap(({ path }) =>
  [...path.matchAll(/\{(fd|access)\}/g)].map((found) => patternOf(path.slice(0, found.index + found[0].length))),
);
const IN_PROCESS = patternOf(PROCESS, '');

export function noRoute({ url, method }: FastifyRequest): Problem {
  const path = url.split('?', 1)[0]!;
  const allowed: string[] = PATTERNS.filter(({ pattern }) => pattern.test(path)).map((entry) => entry.method);
  const closes = method === 'DELETE' && DESCRIPTORS.some((pattern) => pattern.test(path));
  // Where pages are, not every path is one.
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
  return notFound(`There is no path ${shown}.${advice} GET /openapi.json lists all, /docs shows them.`);
}

const descriptorPath = (path: string): string =>
  `${IN_PROCESS.exec(path)![0]}/descriptors/${path.slice(path.lastIndexOf('/') + 1)}`;

const TEMPLATES = [...new Set(ROUTES.map(({ path }) => path)), '/openapi.json', '/docs'].map((path) => ({
  path,
  parts: path.slice(1).split('/'),
}));
const LITERALS = [...new Set(TEMPLATES.flatMap(({ parts }) => parts))].filter((part) => !part.startsWith('{'));

/** What it costs to make a path of the API out of another one, part by part; what costs more than the last is not near. */
const COST = { parameter: 0.05, otherCase: 0.1, typo: 0.3, left: 0.45, added: 1.5, nothingAdded: 0.1, most: 2 };
/** Of a path that is near, parts and characters of a part. */
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

/** The parts of paths that one looks like, each with what the difference costs. */
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

/** The least of all ways to put in what was left out, and to leave out what was added. */
function costOf(asked: readonly string[], likes: readonly Map<string, number>[], parts: readonly string[]): number {
  /** By how much of `parts` has been reached; and those of them that have been reached with a part that is in both. */
  let costs = [0, ...parts.map((_, index) => (index + 1) * COST.left)];
  let inBoth = [0, ...parts.map(() => Infinity)];
  for (const [row, part] of asked.entries()) {
    const added = part === '' ? COST.nothingAdded : COST.added;
    const next = [costs[0]! + added];
    const nextInBoth = [Infinity];
    for (const [column, wanted] of parts.entries()) {
      // The name of what there are many of comes before an id, or the id is one of something else.
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
