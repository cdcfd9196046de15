/**
 * Of what a host's state consists: the classes of its object graph with their fields, the plain records in these, and
 * the constants that say how numbers lie in arrays and frames. `npm run shapes` writes `shapes.json` from the sources.
 */
import written from './shapes.json' with { type: 'json' };

export interface ClassShape {
  extends?: string;
  /** Its own fields and their types: what a snapshot and the digest hold. */
  state: Readonly<Record<string, string>>;
  /** What can be found again: not in snapshots, and a change of it changes no version. */
  caches?: Readonly<Record<string, string>>;
}

export interface Shapes {
  classes: Readonly<Record<string, ClassShape>>;
  /** Interfaces and type aliases that fields name. Several of one name stand in a list. */
  records: Readonly<Record<string, unknown>>;
  constants: Readonly<Record<string, unknown>>;
}

export const SHAPES: Shapes = written;

/** What `shapes.json` says without caches: its hash is the version of the engine. */
export function stateText({ classes, records, constants }: Shapes): string {
  const states = Object.entries(classes).map(([name, { caches: _, ...state }]) => [name, state]);
  return JSON.stringify({ classes: Object.fromEntries(states), records, constants });
}

/** Names of the fields of a class, those that it inherits first. */
export function fieldsOf({ classes }: Shapes, name: string, kind: 'state' | 'caches'): string[] {
  const shape = classes[name];
  if (shape === undefined)
    throw new Error(`class ${name} is not in src/host/state/shapes.json: run \`npm run shapes\``);
  const inherited = shape.extends === undefined ? [] : fieldsOf({ classes } as Shapes, shape.extends, kind);
  return [...inherited, ...Object.keys(shape[kind] ?? {})];
}

const WHAT_TO_DO =
  'run `npm run shapes`, and write an upgrade step in src/host/state/upgrades: without one, stored hosts are built from ' +
  'their journals, and those whose oldest commands are no longer kept cannot be read';

const isGroup = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A sentence for each difference of the sources from what is written. */
export function differences(known: Shapes, source: Shapes): string[] {
  const found: string[] = [];
  const compare = (what: (name: string) => string, before: unknown, now: unknown, advice: string): void => {
    const [left, right] = [isGroup(before) ? before : {}, isGroup(now) ? now : {}];
    for (const name of new Set([...Object.keys(left), ...Object.keys(right)])) {
      const [was, is] = [JSON.stringify(left[name]), JSON.stringify(right[name])];
      if (was === undefined) found.push(`${what(name)} is new and not in src/host/state/shapes.json: ${advice}`);
      else if (is === undefined)
        found.push(`${what(name)} is in src/host/state/shapes.json and no longer there: ${advice}`);
      else if (was !== is) {
        if (isGroup(left[name]) && isGroup(right[name]))
          compare((part) => `${part} of ${what(name)}`, left[name], right[name], advice);
        else found.push(`${what(name)} is ${is} and was ${was}: ${advice}`);
      }
    }
  };
  const classOf = (name: string): string => `class ${name}`;
  for (const name of new Set([...Object.keys(known.classes), ...Object.keys(source.classes)])) {
    const [was, is] = [known.classes[name], source.classes[name]];
    if (!was || !is) compare(classOf, was && { [name]: was }, is && { [name]: is }, WHAT_TO_DO);
    else {
      compare((field) => `field \`${field}\` of class ${name}`, was.state, is.state, WHAT_TO_DO);
      compare((field) => `cache \`${field}\` of class ${name}`, was.caches, is.caches, 'run `npm run shapes`');
      if (was.extends !== is.extends)
        found.push(
          `class ${name} extends ${is.extends ?? 'nothing'} and extended ${was.extends ?? 'nothing'}: ${WHAT_TO_DO}`,
        );
    }
  }
  compare((name) => `record ${name}`, known.records, source.records, WHAT_TO_DO);
  compare((name) => `constant ${name}`, known.constants, source.constants, WHAT_TO_DO);
  return found;
}
