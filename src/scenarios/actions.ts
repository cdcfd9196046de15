/**
 * What a step of a scenario may do: the REST operations of a host by their operationId, the system calls, and the ioctl
 * requests, each by its name. All of it is read from the document of the API, so a scenario knows what the API knows.
 */
import { openapiDocument } from '../http/openapi.ts';

export interface Field {
  readonly place: 'path' | 'query' | 'body';
  readonly about: string;
  readonly required: boolean;
}

export interface Action {
  readonly name: string;
  readonly kind: 'operation' | 'call' | 'ioctl' | 'dma';
  readonly method: string;
  /** Below the host, such as `/processes/{pid}/calls`. */
  readonly path: string;
  readonly about: string;
  readonly fields: ReadonlyMap<string, Field>;
  /** The field that a value stands for which is no mapping: `close: $fd`. */
  readonly first: string | undefined;
}

export type Fields = Readonly<Record<string, unknown>>;

export interface Request {
  readonly method: string;
  /** Below the host. */
  readonly path: string;
  readonly body?: unknown;
}

/** The descriptor that an operation or an ioctl is done on, as structs have fields of the name `fd`, too. */
const ON = 'on';
const HOST = '/v1/hosts/{host}';
const CALLS = '/processes/{pid}/calls';
/** They end the host of a scenario, or are about how it is kept rather than about what it does. */
const LEFT_OUT: readonly string[] = ['deleteHost', 'retryHost', 'exportHost'];

interface Schema {
  $ref?: string;
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  oneOf?: Schema[];
  anyOf?: Schema[];
  const?: string;
}

interface Operation {
  operationId?: string;
  summary?: string;
  parameters?: { name: string; in: 'path' | 'query'; required?: boolean; description?: string }[];
  requestBody?: { content: Record<string, { schema: Schema }> };
}

interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

let made: ReadonlyMap<string, Action> | undefined;

export function actions(): ReadonlyMap<string, Action> {
  made ??= new Map(readActions(openapiDocument() as unknown as Document).map((action) => [action.name, action]));
  return made;
}

/** What a host is made of. */
export function hostFields(): ReadonlyMap<string, Field> {
  const document = openapiDocument() as unknown as Document;
  const fields = new Map<string, Field>();
  addBody(fields, resolverOf(document)(document.components.schemas.HostInput));
  return fields;
}

type Resolve = (schema: Schema | undefined) => Schema;

/** What a name stands for; of one of several forms the fields of all of them, needed where each needs them. */
function resolverOf({ components: { schemas } }: Document): Resolve {
  const resolve: Resolve = (schema = {}) => {
    const found = schema.$ref === undefined ? schema : schemas[schema.$ref.split('/').at(-1)!]!;
    if (found.oneOf === undefined) return found;
    const forms = found.oneOf.map(resolve);
    const properties = Object.assign({}, ...forms.map((form) => form.properties)) as Record<string, Schema>;
    const required = Object.keys(properties).filter((name) => forms.every((form) => form.required?.includes(name)));
    return { ...(found.description !== undefined && { description: found.description }), properties, required };
  };
  return resolve;
}

function readActions(document: Document): Action[] {
  const schemas = document.components.schemas;
  const resolve = resolverOf(document);
  const found: Action[] = [];
  for (const [path, methods] of Object.entries(document.paths)) {
    if (!path.startsWith(HOST)) continue;
    for (const [method, operation] of Object.entries(methods)) {
      const { operationId: name, summary } = operation;
      if (name === undefined || LEFT_OUT.includes(name)) continue;
      const body = resolve(operation.requestBody?.content['application/json']?.schema);
      const fields = operationFields(operation, body);
      found.push({
        name,
        kind: 'operation',
        method: method.toUpperCase(),
        path: path.slice(HOST.length),
        about: summary ?? '',
        fields,
        first: firstOf(fields),
      });
    }
  }
  for (const schema of schemas.Call!.anyOf!.map(resolve)) {
    const { call, request } = schema.properties!;
    if (call!.const !== 'ioctl') found.push(callOf(call!.const!, schema));
    else if (request!.const !== undefined) found.push(ioctlOf(request!.const, schema, resolve));
  }
  found.push(callOf('ioctl', anyIoctl([schemas.IoctlBytes!, schemas.IoctlArgument!])));
  found.push(dma(schemas.DmaWrite!));
  return found;
}

function operationFields(operation: Operation, body: Schema): Map<string, Field> {
  const fields = new Map<string, Field>();
  for (const { name, in: place, required = false, description: about = '' } of operation.parameters ?? []) {
    if (name === 'host' || name === 'pid') continue;
    if (place === 'path' || place === 'query') fields.set(name === 'fd' ? ON : name, { place, about, required });
  }
  addBody(fields, body);
  return fields;
}

/** Where a field of the query has the name of one of the body, it is the one of the body. */
function addBody(fields: Map<string, Field>, { properties = {}, required = [] }: Schema, ...without: string[]): void {
  for (const [name, { description: about = '' }] of Object.entries(properties))
    if (!without.includes(name)) fields.set(name, { place: 'body', about, required: required.includes(name) });
}

function callOf(name: string, schema: Schema): Action {
  const fields = new Map<string, Field>();
  addBody(fields, schema, 'call');
  const about = schema.description ?? '';
  return { name, kind: 'call', method: 'POST', path: CALLS, about, fields, first: firstOf(fields) };
}

/** One that is made with the bytes of a program's own struct. */
function anyIoctl(shapes: readonly Schema[]): Schema {
  const properties = Object.assign({}, ...shapes.map((shape) => shape.properties)) as Record<string, Schema>;
  return { properties, required: ['fd', 'request'], description: 'An ioctl with the bytes of a program.' };
}

function ioctlOf(name: string, schema: Schema, resolve: Resolve): Action {
  const fields = new Map<string, Field>([[ON, { place: 'path', about: 'The descriptor.', required: true }]]);
  addBody(fields, resolve(schema.properties?.arg), ON);
  return { name, kind: 'ioctl', method: 'POST', path: CALLS, about: schema.description ?? '', fields, first: ON };
}

/** One access; `doDma` is the operation with many. */
function dma(access: Schema): Action {
  const bdf: Field = { place: 'path', about: 'Address of the function.', required: true };
  const fields = new Map<string, Field>([['bdf', bdf]]);
  addBody(fields, { ...access, required: ['op', 'iova'] });
  const about = 'One access of a device: `op` read or write.';
  return { name: 'dma', kind: 'dma', method: 'POST', path: '/devices/{bdf}/dma', about, fields, first: undefined };
}

function firstOf(fields: ReadonlyMap<string, Field>): string | undefined {
  const named = [...fields];
  const [name] =
    named.find(([, { place }]) => place === 'path') ?? named.find(([, { required }]) => required) ?? named[0] ?? [];
  return name;
}

/** Whether a process does it: its path names one. */
export const isOfProcess = ({ path }: Action): boolean => path.includes('{pid}');

/** The request that does it. */
export function requestOf(action: Action, fields: Fields, pid: number | undefined): Request {
  const { kind, method, name } = action;
  const body: Record<string, unknown> = {};
  const query = new URLSearchParams();
  let { path } = action;
  if (pid !== undefined) path = path.replace('{pid}', String(pid));
  for (const [key, value] of Object.entries(fields)) {
    const place = action.fields.get(key)?.place;
    if (place === 'path')
      path = path.replace(`{${key === ON ? 'fd' : key}}`, encodeURIComponent(String(value)).replaceAll('%3A', ':'));
    else if (place === 'query') query.set(key, typeof value === 'object' ? JSON.stringify(value) : String(value));
    else body[key] = value;
  }
  if (kind === 'call') return { method, path, body: { calls: [{ call: name, ...body }] } };
  if (kind === 'ioctl')
    return { method, path, body: { calls: [{ call: 'ioctl', fd: fields[ON], request: name, arg: body }] } };
  if (kind === 'dma') return { method, path, body: { accesses: [body] } };
  const asked = query.size > 0 ? `${path}?${query}` : path;
  const takesBody = method !== 'GET' && Object.keys(body).length > 0;
  return { method, path: asked, ...(takesBody && { body }) };
}

/** What a step's expectation is about: of one call or access its result, with what an ioctl wrote beside `ret`. */
export function answerOf({ kind }: Action, body: unknown): Record<string, unknown> {
  const answer = (body ?? {}) as { results?: Record<string, unknown>[] } & Record<string, unknown>;
  if (kind === 'operation' || answer.results === undefined) return answer;
  const { arg, ...result } = answer.results[0] ?? {};
  return kind === 'ioctl' ? { ...result, ...(arg as object) } : { ...result, ...(arg !== undefined && { arg }) };
}
