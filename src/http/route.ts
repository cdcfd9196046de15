/**
 * A route as data: who may use it, what goes in, what comes out. The same entry makes the Fastify route and the
 * operation in the OpenAPI document, so neither can say what the other does not do.
 */
import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import type { z } from 'zod';
import type { Config } from '../config.ts';
import { FULL, part, type Support } from '../kernel/uapi/index.ts';
import type { Lanes } from '../lanes/lanes.ts';
import type { Directory, HostIdentity, RequestKey, Tenant } from '../store/store.ts';
import type { Packed } from '../threads/packed.ts';
import type { BodyBudget, Claim } from './bodies/budget.ts';
import type { Readers } from './bodies/readers.ts';
import type { FairTurns, KnownKeys } from './fair-turns.ts';
import type { Before } from './idempotency.ts';
import type { Metrics } from './metrics.ts';
import type { PathValues } from './parameters.ts';
import type { ProblemName } from './problems.ts';
import type { Frees, TenantQuotas } from './quotas/quotas.ts';
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
    | 'adminKey'
    | 'devKey'
    | 'quotas'
    | 'bodyLimit'
    | 'batchLimit'
    | 'tenantBodies'
    | 'allBodies'
    | 'bodyIdle'
    | 'bodyTimeout'
    | 'corsOrigins'
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
  metrics: Metrics;
  /** All routes there are. */
  routes: readonly Route[];
  /** Of the request, where it has one, and is a tenant's. */
  key?: RequestKey | undefined;
  /** The request has been carried out: only its answer is wanted. */
  before?: Before | undefined;
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
  /** Of 201: the path of what was made; absent: the handler tells it. */
  location?: (answer: never, values: never) => string;
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
  /** The log gets a line of its own that says who has done it. Nothing in its body is secret. */
  audited?: true;
  /** Can be streamed as events: `reply.sse` is there then. */
  streams?: true;
  /** It gives the host a command, even if it is a GET. */
  performs?: true;
  /** False: what it answers depends on more than the host's sequence, or, given the answer, whether it does; default: it does not. */
  versioned?: false | ((answer: never) => boolean);
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
export function heavyRoute<
  Path extends string,
  Body extends z.ZodType,
  Heavy extends object,
  Light,
  Query extends z.ZodType = z.ZodUndefined,
>(
  entry: Omit<Shape<Path, Query, Body>, 'frees'> & {
    frees?: (body: Prepared<Heavy, Light>) => Frees;
    prepare: (asked: Asked<Path, z.output<Query>, z.output<Body>>) => { heavy: Heavy; light: Light };
    handle: Handle<Path, z.output<Query>, Prepared<Heavy, Light>>;
  },
): Route {
  return entry as unknown as Route;
}

/** What a request to a host has in its path. */
export interface OfHost {
  params: { host: string };
}

/** Whether a request may have no body. */
export const takesNoBody = (body: z.ZodType): boolean => body.safeParse(undefined).success;
