/** Makes the OpenAPI 3.1 document, from the routes and their schemas alone. */

import { z } from 'zod';
import {
  createDocument,
  type ZodOpenApiObject,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponseObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi';
import manifest from '../../package.json' with { type: 'json' };
import { HEADER_COMPONENTS, headersOf, IF_MATCH, IF_NONE_MATCH, OF_REQUESTS, PARAMETER_COMPONENTS } from './headers.ts';
import { KEY, MOST_KEY } from './idempotency.ts';
import { finish, type Json } from './openapi-form.ts';
import { parameterNames, pathSchema } from './parameters.ts';
import { PROBLEM_JSON, PROBLEMS, type ProblemName, problemType } from './problems.ts';
import { type RawBody, type Route, type Success, TAGS, takesNoBody } from './route.ts';
import { ROUTES } from './routes.ts';
import { EventKind } from './schemas/events.ts';
import { Problem } from './schemas/problem.ts';
import { pascal } from './schemas/values.ts';
import { type Versioning, versioningOf } from './versions.ts';

let made: Json | undefined;

/** The document: always the same for the same code, so it is made once. */
export function openapiDocument(): Json {
  made ??= make();
  return made;
}

function make(): Json {
  const document = JSON.parse(JSON.stringify(createDocument(describe(), { override: leaveOpen })));
  finish(document);
  return document;
}

/** Answers may get more fields, which clients have to pass over. Only tests hold them to those that there are. */
function leaveOpen({
  jsonSchema,
  io,
}: {
  jsonSchema: { additionalProperties?: unknown };
  io: 'input' | 'output';
}): void {
  if (io === 'output' && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
}

function describe(): ZodOpenApiObject {
  const paths: ZodOpenApiPathsObject = {};
  for (const entry of ROUTES) {
    paths[entry.path] = {
      ...paths[entry.path],
      [entry.method.toLowerCase()]: operationOf(entry),
    };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Holdover',
      version: manifest.version,
      description:
        'Simulated Linux hosts whose IOMMU state survives a live update. 64-bit numbers are hexadecimal strings; on ' +
        'input safe non-negative integers will do as well. Whatever is refused is answered with problem details ' +
        '(RFC 9457), with the `errno` of the simulated kernel where it is the kernel that refuses. Answers to a tenant have the headers ' +
        '`RateLimit-Policy` (`"requests";q=5000;w=1`: so many requests in a second) and `RateLimit` (`"requests";r=4999;t=1`: ' +
        'so many of them are left), where its requests are limited; GET /v1/usage shows all its quotas.',
      license: { name: manifest.license, identifier: manifest.license },
    },
    servers: [{ url: '/', description: 'The service that answered this document.' }],
    tags: Object.entries(TAGS).map(([name, { about }]) => ({ name, description: about })),
    paths,
    components: {
      schemas: { EventKind },
      parameters: PARAMETER_COMPONENTS,
      headers: HEADER_COMPONENTS,
      securitySchemes: {
        TenantKey: { type: 'http', scheme: 'bearer', description: 'The key of a tenant.' },
        AdminKey: { type: 'http', scheme: 'bearer', description: 'The admin key, HOLDOVER_ADMIN_KEY.' },
      },
    },
  };
}

const CONDITIONS = { read: [IF_MATCH, IF_NONE_MATCH], change: [IF_MATCH], none: [] };
const ABOUT_KEYS = `Chosen by whoever sends the request, another one for each: ${MOST_KEY} printable ASCII characters at most. The same request with the same key is carried out once, however often it is sent, and also where the service has died meanwhile: then it is answered as the first time, with \`Idempotency-Replayed: true\`. Another request with that key is refused (422).`;

const IdempotencyKey = z
  .string()
  .regex(KEY)
  .optional()
  .meta({
    param: { id: 'IdempotencyKey', description: ABOUT_KEYS, example: '0b8d9f5e-6a55-4b6e-9d4c-1f7f0a2c7e11' },
  });
const SCHEMES = { tenant: 'TenantKey', admin: 'AdminKey' } as const;

function operationOf(entry: Route): ZodOpenApiOperationObject {
  const { operationId, method, tag, summary, description, access, query, body, bodyExample, raw } = entry;
  const named = parameterNames(entry.path).length > 0;
  return {
    operationId,
    tags: [tag],
    summary,
    description,
    security: access === 'public' ? [] : [{ [SCHEMES[access]]: [] }],
    ...((named || query || method === 'POST') && {
      requestParams: {
        ...(method === 'POST' && { header: z.object({ 'Idempotency-Key': IdempotencyKey }) }),
        ...(named && { path: pathSchema(entry.path) as never }),
        ...(query && { query: query as never }),
      },
    }),
    parameters: [...CONDITIONS[versioningOf(entry)], ...OF_REQUESTS],
    ...(body && {
      requestBody: {
        required: !takesNoBody(body),
        content: {
          'application/json': { schema: body, example: bodyExample ?? {} },
          ...(raw && { [raw.type]: { schema: raw.body, example: raw.bodyExample } }),
        },
      },
    }),
    responses: { ...successes(entry), ...failures(entry) },
  };
}

function successes(entry: Route): ZodOpenApiResponsesObject {
  const versioning = versioningOf(entry);
  const all = Object.entries(entry.success).map(([status, answer]) => [
    status,
    successOf(answer, { tag: isTagged(entry, versioning), location: status === '201' }, entry.raw),
  ]);
  return { ...Object.fromEntries(all), ...(versioning === 'read' && { 304: NOT_MODIFIED }) };
}

/** What is deleted is nowhere. */
const isTagged = ({ method, path }: Route, versioning: Versioning): boolean =>
  versioning !== 'none' && !(method === 'DELETE' && path === '/v1/hosts/{host}');

const NOT_MODIFIED: ZodOpenApiResponseObject = {
  id: 'NotModified',
  description: 'The host is where If-None-Match says.',
  headers: headersOf({ tag: true, location: false }),
};

function successOf(
  { description, schema, example, also = {} }: Success,
  has: Parameters<typeof headersOf>[0],
  raw?: RawBody,
): ZodOpenApiResponseObject {
  return {
    description,
    headers: headersOf(has),
    ...(schema && {
      content: {
        'application/json': { schema, ...(example !== undefined && { example }) },
        ...(raw && { [raw.type]: { schema: raw.answer, example: raw.answerExample } }),
        ...also,
      },
    }),
  };
}

/** The problems that a route can answer with: they follow from what it takes, and `problems` adds to them. */
function failures(entry: Route): ZodOpenApiResponsesObject {
  const { access, method, path, refusable, problems = [] } = entry;
  const names = new Set<ProblemName>(OF_EVERY_REQUEST);
  const named = parameterNames(path).length > 0;
  // One that need not be sent is looked at all the same.
  if (method !== 'GET') for (const name of OF_BODIES) names.add(name);
  if (access !== 'public') {
    for (const name of ['unauthenticated', 'forbidden', 'internal-error'] as const) names.add(name);
  }
  if (access === 'tenant') for (const name of ['too-many-requests', 'too-much-at-once'] as const) names.add(name);
  if (access === 'tenant' && method !== 'GET' && method !== 'DELETE') names.add('quota-exceeded');
  if (access === 'tenant' && named) names.add('not-found');
  if (versioningOf(entry) !== 'none') names.add('host-changed');
  if (method === 'POST' && access === 'tenant')
    for (const name of ['key-reused', 'answer-gone'] as const) names.add(name);
  if (refusable) for (const name of ['kernel-conflict', 'kernel-refusal'] as const) names.add(name);
  if (access !== 'public' || path === '/readyz') names.add('unavailable');
  names.add('service-stopping');
  for (const name of problems) names.add(name);
  const byStatus = Map.groupBy(names, (name) => PROBLEMS[name].status);
  const told = [...byStatus].map(([status, all]) => [status, problemResponse(all)]);
  return { ...Object.fromEntries(told), default: ANY_PROBLEM };
}

/** Whatever else is answered, by this version or a later one. */
const ANY_PROBLEM: ZodOpenApiResponseObject = {
  id: 'AnyProblem',
  description: 'Any other failure, as problem details.',
  content: { [PROBLEM_JSON]: { schema: Problem } },
};

const OF_EVERY_REQUEST: readonly ProblemName[] = [
  'invalid-request',
  'path-too-long',
  'expectation-failed',
  'wrong-host',
  'headers-too-large',
];

const OF_BODIES: readonly ProblemName[] = [
  'request-timeout',
  'body-too-large',
  'unsupported-media-type',
  'too-much-at-once',
  'unknown-coding',
];

/** What stands in the example of some problems besides. */
const EXAMPLES: Partial<Record<ProblemName, object>> = {
  'kernel-conflict': { errno: 'EBUSY', where: 'iommu_device_claim_dma_owner', rule: 'R5' },
  'kernel-refusal': { errno: 'EINVAL', where: 'iommufd_ioas_map' },
  'quota-exceeded': { quota: 'mappings', limit: 1_048_576, used: 1_050_000 },
  'too-many-requests': { quota: 'requests', limit: 5000, used: 5000 },
};

const exampleOf = (name: ProblemName): object => {
  const { status, title, about: detail } = PROBLEMS[name];
  return { type: problemType(name), title, status, detail, instance: 'ci-4711/7', ...EXAMPLES[name] };
};

/** Those of a host that has been asked. */
const TELL_TAG = new Set<ProblemName>(['host-changed', 'kernel-conflict', 'kernel-refusal']);

const responses = new Map<string, ZodOpenApiResponseObject>();

/** The response of one status, which may be any of these problems; the same object for the same ones. */
function problemResponse(names: ProblemName[]): ZodOpenApiResponseObject {
  const id = names.map(pascal).join('Or');
  const known = responses.get(id);
  if (known !== undefined) return known;
  const [first, ...others] = names as [ProblemName, ...ProblemName[]];
  const examples = Object.fromEntries(names.map((name) => [name, { value: exampleOf(name) }]));
  const made = {
    id,
    description: names.map((name) => PROBLEMS[name].title).join('. Or: '),
    headers: headersOf({ tag: names.some((name) => TELL_TAG.has(name)), location: false }),
    content: {
      [PROBLEM_JSON]: { schema: Problem, ...(others.length === 0 ? { example: exampleOf(first) } : { examples }) },
    },
  };
  responses.set(id, made);
  return made;
}
