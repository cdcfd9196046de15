/** The operations of the OpenAPI document, and a request of each that is made of the document's own examples. */
import { openapiDocument } from '../../src/http/openapi.ts';

export type Method = 'get' | 'head' | 'post' | 'put' | 'patch' | 'delete';

/** A JSON schema, as far as the document uses it. */
export interface Schema {
  $ref?: string;
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
  maxItems?: number;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  pattern?: string;
  examples?: unknown[];
}

export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required?: boolean;
  schema: Schema;
  description?: string;
  example?: unknown;
}

interface Content {
  schema: Schema;
  example?: unknown;
}

interface Described {
  operationId: string;
  description?: string;
  security: Record<string, unknown>[];
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Record<string, Content> };
  responses: Record<string, { content?: Record<string, Content> }>;
}

export interface Operation extends Described {
  method: Method;
  /** With names of parameters in braces. */
  path: string;
  /** Whose key it asks for; null: none. */
  access: 'tenant' | 'admin' | null;
  /** Each media type that a body may have, with an example. */
  bodies: [type: string, content: Content][];
}

interface Document {
  paths: Record<string, Record<string, Described>>;
  components: { schemas: Record<string, Schema> };
}

const { paths, components } = openapiDocument() as unknown as Document;

const ACCESS: Record<string, Operation['access']> = { TenantKey: 'tenant', AdminKey: 'admin' };

function accessOf({ operationId, security }: Described): Operation['access'] {
  const [scheme] = security.flatMap((one) => Object.keys(one));
  if (scheme === undefined) return null;
  const access = ACCESS[scheme];
  if (!access) throw new Error(`${operationId} asks for a ${scheme}, of which nobody has thought here`);
  return access;
}

export const OPERATIONS: readonly Operation[] = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, described]) => ({
    ...described,
    method: method as Method,
    path,
    access: accessOf(described),
    bodies: Object.entries(described.requestBody?.content ?? {}),
  })),
);

/** The schema itself, where it is named elsewhere in the document. */
export function resolved(schema: Schema): Schema {
  const { $ref } = schema;
  return $ref === undefined ? schema : resolved(components.schemas[$ref.slice($ref.lastIndexOf('/') + 1)]!);
}

export const namedSchema = (name: string): Schema => components.schemas[name]!;

/** Throws where the document has none: then it says too little to whoever reads it, too. */
function exampleOf({ operationId }: Operation, { name, example }: Parameter): string {
  if (example === undefined) throw new Error(`parameter ${name} of ${operationId} has no example`);
  return String(example);
}

/** The path with all that the operation requires; `values`: parameters that are not as the examples are. */
export function examplePath(operation: Operation, values: Record<string, string> = {}): string {
  const { path, parameters = [] } = operation;
  const textOf = (parameter: Parameter): string =>
    encodeURIComponent(values[parameter.name] ?? exampleOf(operation, parameter));
  const filled = parameters
    .filter((parameter) => parameter.in === 'path')
    .reduce((text, parameter) => text.replace(`{${parameter.name}}`, textOf(parameter)), path);
  if (filled.includes('{')) throw new Error(`${operation.operationId} has a parameter that is not described`);
  const query = parameters
    .filter((parameter) => parameter.in === 'query' && parameter.required)
    .map((parameter) => `${parameter.name}=${textOf(parameter)}`);
  return query.length === 0 ? filled : `${filled}?${query.join('&')}`;
}
