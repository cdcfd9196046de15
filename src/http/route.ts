/**
 * A route as data: who may use it, what goes in, what comes out. The same entry makes the Fastify route and the
 * operation in the OpenAPI document, so neither can say what the other does not do.
 */
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { Config } from '../config.ts';
import { FULL, part, type Support } from '../kernel/uapi/index.ts';
import type { Lanes } from '../lanes/lanes.ts';
import { LARGE } from '../limits.ts';
import type { Directory, HostIdentity, Tenant } from '../store/store.ts';
import { isPacked, type Packed, unpack } from '../threads/packed.ts';
import { authenticate } from './auth.ts';
import type { BodyBudget, Claim } from './bodies/budget.ts';
import { parseBody } from './bodies/json.ts';
import type { Readers } from './bodies/readers.ts';
import { lanesFor } from './clients.ts';
import { type FairTurns, type KnownKeys, keyIn } from './fair-turns.ts';
import { toldWith, withHazards } from './hazards.ts';
import { type PathValues, pathSchema } from './parameters.ts';
import type { ProblemName } from './problems.ts';
import type { Frees, TenantQuotas } from './quotas/quotas.ts';
import { strict } from './schemas/values.ts';
import { read } from './validation.ts';
import type { Watchers } from './watchers.ts';

declare module 'fastify' {
  interface FastifyRequest {
    answer: ServerResponse | null;
    claim: Claim | null;
  }
}

/** What handlers are given to work with. */
export interface Context {
  config: Pick<
    Config,
    'adminKey' | 'quotas' | 'bodyLimit' | 'batchLimit' | 'tenantBodies' | 'allBodies' | 'bodyIdle' | 'bodyTimeout'
  >;
  /** Signs files of hosts. */
  fileKey: string;
  /** Development mode: who asks is who runs the service. */
  dev: boolean;
  directory: Directory;
  lanes: Lanes;
  keys: KnownKeys;
  /** Whose body is looked through next. */
  bodies: FairTurns;
  watchers: Watchers;
  readers: Readers;
  budget: BodyBudget;
  quotas: TenantQuotas;
  /** All routes there are. */
  routes: readonly Route[];
}

/** Whose key a route asks for. `tenant`: a host in the path must be this tenant's, too. */
export type Access = 'public' | 'tenant' | 'admin';
export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** A family of operations. `support`: how much of what a real machine does is simulated; null: no machine does this. */
interface Family {
  about: string;
  support: Support | null;
}

const AS_CALLS = part('As the calls and requests that its operations perform.');

export const TAGS = {
  Hosts: {
    about: 'Simulated machines: making, reading and deleting them.',
    support: part('Memory, IOMMUs, PCI functions and one kernel: no CPU runs, and a program is what is asked for it.'),
  },
  Devices: {
    about: 'PCI functions, their drivers, their DMA and their resets.',
    support: part(
      'Registers read what was written: devices have no models. A DMA is always issued, and a driver is a name that takes the DMA of its group and maps nothing.',
    ),
  },
  Groups: { about: 'IOMMU groups and the domains that translate.', support: FULL },
  Processes: {
    about: 'Processes of the simulated kernel, their descriptors and memory.',
    support: part('A process has one thread, no parent and no program; its memory is what it maps.'),
  },
  Calls: { about: 'System calls and ioctls, one to one.', support: AS_CALLS },
  iommufd: { about: 'IO address spaces, mappings and hardware page tables of an iommufd.', support: AS_CALLS },
  VFIO: { about: 'Devices by cdev and by legacy group, and the container requests.', support: AS_CALLS },
  'Live update': { about: 'Sessions, and what is preserved in them.', support: AS_CALLS },
  Kexec: {
    about: 'The kernel ends and the next one boots; time and faults.',
    support: part('No image is loaded, and processes are not shut down first: reboot() itself, and what it does.'),
  },
  Administration: { about: 'Tenants and their quotas.', support: null },
  Service: { about: 'Health and documentation of the service itself.', support: null },
} as const satisfies Record<string, Family>;

export type Tag = keyof typeof TAGS;

export interface Success {
  description: string;
  /** Absent: the answer has no body. */
  schema?: z.ZodType;
  example?: unknown;
  /** Headers of the answer, and what they say. */
  headers?: Record<string, string>;
  contentType?: string;
  /** Other forms of it, by type: the header Accept asks for them. */
  also?: Record<string, { schema: z.ZodType; example: unknown }>;
}

export interface Input<Path extends string, Query, Body> {
  params: PathValues<Path>;
  query: Query;
  body: Body;
  /** Only in routes of access `tenant`. */
  tenant: Tenant;
  /** Only in routes of access `tenant` whose path names a host. */
  host: HostIdentity;
  /** Only in routes with a raw body: its bytes (JSON), or a stream of them. */
  raw: unknown;
}

/**
 * A body that the handler gets as bytes if it is JSON (HOLDOVER_BATCH_LIMIT at most), as a stream if it is of `type`.
 */
export interface RawBody {
  /** The other media type, of lines; `body` and `answer` are the schemas of one line. */
  type: string;
  body: z.ZodType;
  bodyExample: unknown;
  answer: z.ZodType;
  answerExample: unknown;
  /** What reading it takes of memory, in bytes. */
  memory: number;
}

interface Shape<Path extends string, Query extends z.ZodType, Body extends z.ZodType> {
  method: Method;
  /** The path, with names of src/http/parameters.ts in braces. */
  path: Path;
  operationId: string;
  tag: Tag;
  summary: string;
  description: string;
  access: Access;
  query?: Query;
  body?: Body;
  bodyExample?: z.input<Body>;
  /** Answers by status, the usual one first. */
  success: Record<number, Success>;
  /** The simulated kernel can refuse: 409 or 422. */
  refusable?: boolean;
  /** The body is not read by its schema, which then only describes it. */
  raw?: RawBody;
  /** The largest body, in bytes; default: HOLDOVER_BODY_LIMIT. */
  bodyLimit?: number;
  /** What it gives back of what is used; not given: everything, for GET and DELETE, else nothing. */
  frees?: Frees | ((body: z.output<Body>) => Frees);
  /** Can be streamed as events: `reply.sse` is there then. */
  streams?: true;
  /** Problems that do not follow from the rest of the entry. */
  problems?: ProblemName[];
}

/** Returns the body of the answer; its status is the first of `success` unless the handler sets another. */
type Handle<Path extends string, Query, Body> = (
  context: Context,
  input: Input<Path, Query, Body>,
  reply: FastifyReply,
) => Promise<unknown> | unknown;

/** What is made of a body that may be large. The heavy part may be packed: it goes on to the lane, which unpacks it. */
export interface Prepared<Heavy, Light> {
  heavy: Heavy | Packed<Heavy>;
  light: Light;
}

/** All that a body is prepared by: plain data. */
export type Asked<Path extends string, Query, Body> = Pick<Input<Path, Query, Body>, 'params' | 'query' | 'body'>;

export interface Route extends Shape<string, z.ZodType, z.ZodType> {
  handle: (context: Context, input: Input<string, never, never>, reply: FastifyReply) => Promise<unknown> | unknown;
  prepare?: (asked: Asked<string, never, never>) => Prepared<object, unknown>;
}

/** Returns the entry, with the types of its parameters and body checked against its handler. */
export function route<
  Path extends string,
  Query extends z.ZodType = z.ZodUndefined,
  Body extends z.ZodType = z.ZodUndefined,
>(entry: Shape<Path, Query, Body> & { handle: Handle<Path, z.output<Query>, z.output<Body>> }): Route {
  return entry as unknown as Route;
}

/**
 * The same where checking the body, and making of it what the lane is asked, takes long for large ones: `prepare` does that, in
 * another thread if need be, and its result takes the place of the body.
 */
export function heavyRoute<Path extends string, Body extends z.ZodType, Heavy extends object, Light>(
  entry: Omit<Shape<Path, z.ZodUndefined, Body>, 'frees'> & {
    frees?: (body: Prepared<Heavy, Light>) => Frees;
    prepare: (asked: Asked<Path, undefined, z.output<Body>>) => { heavy: Heavy; light: Light };
    handle: Handle<Path, undefined, Prepared<Heavy, Light>>;
  },
): Route {
  return entry as unknown as Route;
}

const NO_QUERY = strict({});
const NO_BODY = strict({}).optional();

/** Whether a request may have no body. */
export const takesNoBody = (body: z.ZodType): boolean => body.safeParse(undefined).success;

export function addRoute(app: FastifyInstance, context: Context, entry: Route, checkAnswers: boolean): void {
  const { method, path, access, success } = entry;
  const input = inputReader(context, entry);
  // Beside 204 there is what tells hazards.
  const status = success[204] ? 204 : Number(Object.keys(success)[0]);
  app.route({
    method,
    ...(entry.raw && {
      bodyLimit: context.config.batchLimit,
      config: { variable: 'HOLDOVER_BATCH_LIMIT', types: `application/json or ${entry.raw.type}` },
    }),
    ...(entry.bodyLimit && { bodyLimit: entry.bodyLimit, config: { variable: null } }),
    ...(entry.streams && { sse: 'dual' as const }),
    url: path.replaceAll(/\{(\w+)\}/g, ':$1'),
    onRequest: async (request, reply) => {
      request.answer = reply.raw;
      // What is of a tenant is nobody else's, such as of a proxy.
      if (access !== 'public') reply.header('cache-control', 'no-store');
      await authenticate(context, access, request, reply);
    },
    handler: async (request, reply) => {
      const reading = input(request);
      const values = reading instanceof Promise ? await reading : reading;
      if (access === 'tenant') await withinQuotas(context, entry, values);
      reply.code(status);
      const asked = lanesFor(context.lanes, reply.raw);
      let answer: unknown;
      try {
        answer = await entry.handle({ ...context, lanes: asked.lanes }, values, reply);
      } catch (error) {
        throw withHazards(error, asked.hazards);
      }
      // It was a stream, which has come to its end.
      if (reply.raw.headersSent) return;
      if (asked.hazards.length > 0) answer = toldWith(reply, answer, asked.hazards);
      if (checkAnswers) checkAnswer(entry, reply.statusCode, unpack(answer));
      if (!isPacked(answer)) return reply.send(answer);
      // Of a command it must be told what it has done.
      if (method === 'GET') takeRoom(context, reply, answer.length);
      else claimOf(request, context.budget).hold(answer.length);
      return reply.type('application/json').send(answer);
    },
  });
}

type AnyInput = Input<string, never, never>;

/** Throws a problem where the tenant uses too much for that. A promise where that has to be counted first. */
function withinQuotas({ quotas }: Context, { method, frees }: Route, input: AnyInput): Promise<void> | undefined {
  const usual = method === 'GET' || method === 'DELETE' ? 'everything' : 'nothing';
  const given = typeof frees === 'function' ? frees(input.body) : frees;
  return quotas.check(input.tenant, input.host?.id ?? null, given ?? usual);
}

/** To look through a body of so many bytes takes a fraction of a millisecond, whatever it is. */
const SMALL = 1024;

/** A promise where the body is not small: a large one is read elsewhere. */
function inputReader(
  { readers, bodies }: Context,
  entry: Route,
): (request: FastifyRequest) => AnyInput | Promise<AnyInput> {
  const { query = NO_QUERY } = entry;
  const params = pathSchema(entry.path);
  return (request) => {
    const received = request.body;
    const asked = { params: read(params, request.params, 'path'), query: read(query, request.query, 'query') };
    const { tenant, visibleHost: host } = request;
    const input = (body: unknown, raw?: unknown) => ({ ...asked, body, raw, tenant, host }) as AnyInput;
    if (entry.raw) return input(undefined, received);
    const bytes = received as Uint8Array<ArrayBuffer> | undefined;
    if (bytes !== undefined && bytes.length > LARGE) {
      request.body = undefined;
      return readers.read(tenantOf(request), { operationId: entry.operationId, ...asked }, bytes).then(input);
    }
    const look = (): AnyInput => {
      const value = bytes && parseBody(bytes);
      request.body = value;
      return input(bodyOf(entry, asked, value));
    };
    if (bytes === undefined || bytes.length <= SMALL) return look();
    return new Promise((resolve, reject) => {
      bodies.enter(keyIn(request.headers), () => {
        const begun = performance.now();
        try {
          resolve(look());
        } catch (error) {
          reject(error);
        }
        bodies.spend(performance.now() - begun);
      });
    });
  };
}

/** What the handler is given as the body, in whichever thread. Throws a problem. */
export function bodyOf(entry: Route, asked: object, value: unknown): unknown {
  const { body: schema = NO_BODY, prepare } = entry;
  const body = read(schema, value ?? undefined, 'body');
  return prepare ? prepare({ ...asked, body } as never) : body;
}

/** Who is asked to wait where much is asked at once. */
const tenantOf = ({ tenant }: FastifyRequest): string => tenant?.id ?? '';

/** What the request has of the budget until it is answered. */
export function claimOf(request: FastifyRequest, budget: BodyBudget): Claim {
  if (request.claim === null) {
    const claim = budget.claim(tenantOf(request));
    request.answer!.once('close', () => claim.release());
    request.claim = claim;
  }
  return request.claim;
}

/** Makes sure that there is room for an answer of so many bytes, before anything is done. Throws a problem where there is none. */
export function takeRoom({ budget }: Context, { request }: FastifyReply, bytes: number): void {
  if (bytes > LARGE) claimOf(request, budget).raise(bytes);
}

/** For tests: throws if an answer is not as the OpenAPI document says. */
function checkAnswer({ operationId, success, raw }: Route, status: number, answer: unknown): void {
  if (raw && answer instanceof Readable) return;
  const documented = success[status];
  if (!documented) throw new Error(`${operationId} answers ${status}, which is not documented`);
  if (documented.also && (typeof answer === 'string' || answer instanceof Readable)) return;
  if (!documented.schema) {
    if (answer !== undefined) throw new Error(`${operationId} answers a body with ${status}, which is not documented`);
    return;
  }
  const parsed = documented.schema.safeParse(answer);
  if (!parsed.success) throw new Error(`${operationId} answers what is not documented: ${parsed.error.message}`);
}
