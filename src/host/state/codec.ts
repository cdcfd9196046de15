/**
 * A host as pieces and back, by the shapes of its classes: their state is kept, their caches begin anew. An object whose
 * fields are others than the shapes say is a fault, on the way out as well as on the way in.
 */
import { type Describe, fromPieces, type Maker, type Piece, toPieces } from './pieces.ts';
import { fieldsOf, type Shapes } from './shapes.ts';

// biome-ignore lint/complexity/noBannedTypes: any class may be part of a host
type Class = Function & { caches?: Readonly<Record<string, () => unknown>> };

/** A class of the graph. */
export interface Plan {
  readonly of: string;
  readonly prototype: object;
  readonly state: readonly string[];
  readonly caches: readonly (readonly [name: string, first: () => unknown])[];
  readonly fields: ReadonlySet<string>;
}

const list = (names: Iterable<string>): string => [...names].join(', ');

export class StateCodec {
  readonly #byName = new Map<string, Plan>();
  readonly #byPrototype = new Map<object, Plan>();
  readonly #constants = new Map<object, { constant: string }>();
  readonly #constantsByName: Readonly<Record<string, object>>;

  /** Classes and constants are known by the names given: what a packer calls them is its own affair. */
  constructor(shapes: Shapes, classes: Readonly<Record<string, Class>>, constants: Readonly<Record<string, object>>) {
    for (const [name, each] of Object.entries(classes)) this.#add(shapes, name, each);
    for (const [constant, object] of Object.entries(constants)) this.#constants.set(object, { constant });
    this.#constantsByName = constants;
  }

  #add(shapes: Shapes, name: string, { prototype, caches: declared = {} }: Class): void {
    const state = fieldsOf(shapes, name, 'state');
    const written = fieldsOf(shapes, name, 'caches');
    const caches = Object.entries(declared);
    const missing = new Set(written).symmetricDifference(new Set(Object.keys(declared)));
    if (missing.size > 0)
      throw new Error(
        `caches of class ${name} and of src/host/state/shapes.json differ (${list(missing)}): run \`npm run shapes\``,
      );
    const plan: Plan = {
      of: name,
      prototype: prototype as object,
      state,
      caches,
      fields: new Set([...state, ...written]),
    };
    this.#byName.set(name, plan);
    this.#byPrototype.set(plan.prototype, plan);
  }

  encode(host: object): Generator<void, Piece[]> {
    return toPieces(host, this.#describe);
  }

  /** Throws, naming class and field, where the pieces are not those of the shapes. */
  decode(pieces: readonly Piece[]): Generator<void, object> {
    const prototypes = this.#byPrototype;
    const make: Maker = {
      constant: (name) => {
        const constant = this.#constantsByName[name];
        if (constant === undefined) throw new Error(`it names ${name}, which this version has not`);
        return constant;
      },
      maker: (of, keys) => {
        const { prototype } = this.#compared(of, keys);
        return () => Object.create(prototype) as object;
      },
      fields: (object) => object,
      finish(object) {
        const { caches } = prototypes.get(Object.getPrototypeOf(object) as object)!;
        for (const [name, first] of caches) (object as Record<string, unknown>)[name] = first();
      },
    };
    return fromPieces(pieces, make);
  }

  /** The class, if it has these fields and no others. */
  #compared(of: string, keys: readonly string[]): Plan {
    const plan = this.#byName.get(of);
    if (plan === undefined) throw new Error(`it holds objects of class ${of}, which this version has not`);
    const state = new Set(plan.state);
    const unknown = new Set(keys).difference(state);
    const missing = state.difference(new Set(keys));
    if (unknown.size > 0) throw new Error(`class ${of} has fields in it that this version has not: ${list(unknown)}`);
    if (missing.size > 0)
      throw new Error(`class ${of} is in it without fields that this version has: ${list(missing)}`);
    return plan;
  }

  /** The class of an object; null: it is a plain one. */
  planOf(object: object): Plan | null {
    const prototype = Object.getPrototypeOf(object) as object;
    if (prototype === Object.prototype) return null;
    const plan = this.#byPrototype.get(prototype);
    if (plan !== undefined) return plan;
    throw new Error(`class ${prototype.constructor.name} is not in src/host/state/classes.ts: run \`npm run shapes\``);
  }

  /** The name of what lives once in a program. */
  constantOf(object: object): string | undefined {
    return this.#constants.get(object)?.constant;
  }

  readonly #describe: Describe = (object) => {
    const constant = this.#constants.get(object);
    if (constant !== undefined) return constant;
    const plan = this.planOf(object);
    if (plan === null) return null;
    check(object, plan);
    return { of: plan.of, keys: plan.state, fields: object };
  };
}

function check(object: object, { of, fields }: Plan): void {
  const keys = Object.keys(object);
  if (keys.length === fields.size && keys.every((key) => fields.has(key))) return;
  const unknown = keys.filter((key) => !fields.has(key));
  const missing = [...fields].filter((field) => !Object.hasOwn(object, field));
  const which =
    unknown.length > 0 ? `has the field ${list(unknown)}, which is` : `is without ${list(missing)}, which is`;
  throw new Error(
    `an object of class ${of} ${which} ${unknown.length > 0 ? 'not ' : ''}in src/host/state/shapes.json: run \`npm run shapes\``,
  );
}
