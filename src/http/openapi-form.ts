/**
 * The last touch to the OpenAPI document, for programs that make clients of it: whole numbers say their width, parameters say
 * what they are, a union has no unions in it and no forms that are `unlisted`, and what is exactly one of several forms is a union of these.
 */

export type Json = { [key: string]: unknown };

/** One of the forms of an object: which of its fields it has to have, and which it cannot have. */
interface Form {
  description: string;
  needs: readonly string[];
  without: readonly string[];
}

/** The forms of a schema by the name of each, for `.meta({ forms })`. */
export type Forms = Record<string, Form>;

interface Document {
  paths: Record<string, Record<string, { parameters?: Json[] }>>;
  components: { schemas: Record<string, Json>; parameters?: Record<string, Json> };
}

/** Changes the document. */
export function finish(document: Document): void {
  const { paths, components } = document;
  for (const methods of Object.values(paths))
    for (const { parameters = [] } of Object.values(methods)) for (const one of parameters) tellOn(one);
  for (const one of Object.values(components.parameters ?? {})) tellOn(one);
  components.schemas = Object.fromEntries(Object.entries(components.schemas).flatMap(formsOf));
  touch(document);
}

/** Moves what the schema of a parameter says to the parameter itself, where generators look for it. */
function tellOn(parameter: Json): void {
  if (parameter.$ref !== undefined) return;
  const { description, examples, ...schema } = parameter.schema as Json & { examples?: unknown[] };
  parameter.description ??= description;
  const [example] = examples ?? (schema.enum as unknown[] | undefined) ?? (schema.type === 'boolean' ? [true] : []);
  if (example !== undefined) parameter.example ??= example;
  parameter.schema = schema;
}

function formsOf([name, schema]: [string, Json]): [string, Json][] {
  const { forms, type, properties, required = [], additionalProperties, ...about } = schema;
  if (forms === undefined) return [[name, schema]];
  const each = Object.entries(forms as Forms).map(([id, { description, needs, without }]): [string, Json] => {
    const own = Object.entries(properties as Json).filter(([field]) => !without.includes(field));
    const needed = [...(required as string[]), ...needs];
    const fields = { properties: Object.fromEntries(own), ...(needed.length > 0 && { required: needed }) };
    return [id, { type, description, ...fields, additionalProperties }];
  });
  return [[name, { ...about, oneOf: each.map(([id]) => ({ $ref: `#/components/schemas/${id}` })) }], ...each];
}

function touch(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  const schema = value as Json;
  for (const part of Object.values(schema)) touch(part);
  // What is named elsewhere says itself which fields it has.
  if (schema.$ref !== undefined) delete schema.additionalProperties;
  if (schema.type === 'integer') schema.format = widthOf(schema);
  for (const kind of ['oneOf', 'anyOf'] as const) {
    const all = schema[kind];
    if (!Array.isArray(all)) continue;
    const members = all.filter((member) => !member.unlisted);
    schema[kind] = members;
    if (!members.some(isUnion)) continue;
    delete schema[kind];
    delete schema.type;
    schema.anyOf = members.flatMap((member) => (isUnion(member) ? (member.oneOf ?? member.anyOf) : [member]));
  }
}

/** A union without a name. */
const isUnion = (schema: Json): boolean => Array.isArray(schema.oneOf) || Array.isArray(schema.anyOf);

/** Of what is not bounded on both sides, or beyond 31 bits and a sign: 64 bits. */
function widthOf({ minimum = -Infinity, maximum = Infinity }: { minimum?: number; maximum?: number }): string {
  return minimum >= -(2 ** 31) && maximum < 2 ** 31 ? 'int32' : 'int64';
}
