/** Hosts as files: to keep, to attach to a report, to go on with here or somewhere else. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { HOST_FILE, type HostFile, sealOf } from '../../lanes/host-file.ts';
import { atOnce } from '../../lanes/slices.ts';
import { isPacked } from '../../threads/packed.ts';
import { passed, withFields } from '../answers.ts';
import { heavyRoute, type Route, route } from '../route.ts';
import { CreatedHost } from '../schemas/host.ts';
import { givenLabels, ttlText } from '../schemas/labels.ts';
import { name, strict } from '../schemas/values.ts';
import { invalid } from '../validation.ts';
import { CREATED_EXAMPLE, identityOf } from './hosts.ts';

/** The largest file that is read, in bytes. */
const MOST_FILE = 32 << 20;

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const Sequence = z.int().min(0);
const Json = z.record(z.string(), z.unknown());

/** How large a machine is. */
const Machine = z.looseObject({
  machine: z.looseObject({ functions: z.array(z.unknown()), iommus: z.array(z.unknown()) }),
});

const File = strict({
  format: z.literal(HOST_FILE).meta({ description: 'Of this kind of file, and its version.' }),
  engine: z
    .string()
    .max(64)
    .meta({ description: 'What has made `state`: another version of the service may have to translate it.' }),
  origin: strict({ id: z.string().max(64), name: name('Such as `lab`.'), created: z.string().max(64) }).meta({
    description: 'What it was called where it comes from.',
  }),
  sequence: Sequence.meta({ description: 'The last command that it has executed; 0: none.' }),
  digest: Sha256.meta({ description: 'SHA-256 of what the host is, as GET …/hosts/{host} tells it.' }),
  // Its fields stay in their order, which the seal depends on.
  spec: Json.refine((spec) => Machine.safeParse(spec).success, { error: 'expected the description of a machine' }).meta(
    {
      description: 'What it was made as.',
    },
  ),
  history: z.array(strict({ sequence: Sequence, op: z.string(), command: Json, payload: z.string().optional() })).meta({
    description:
      'The newest commands that it has executed, for whoever reads the file; a host that is made of it begins without.',
  }),
  state: z.array(z.string()).meta({ description: 'The host after them: base64 of a zstd frame, in pieces.' }),
  sha256: Sha256.meta({ description: 'Of all fields above.' }),
  signature: Sha256.meta({
    description: 'HMAC of `sha256` with the key of the service that has made the file (HOLDOVER_FILE_KEY).',
  }),
}).meta({ id: 'HostFile' });

const EXAMPLE = {
  format: HOST_FILE,
  engine: 'a451c33f295ccfd9',
  origin: { id: 'h-6jx2m4vq7r3ta5cn', name: 'lab', created: '2026-01-31T12:00:00.000Z' },
  sequence: 1,
  digest: '7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730',
  spec: { machine: { functions: [], iommus: [] } },
  history: [{ sequence: 1, op: 'process.create', command: { op: 'process.create', name: 'vmm' } }],
  state: ['KLUv/QBYAQAA'],
  sha256: '0f343b0931126a20f133d67c2b018a3b5e1d3b0a5f6f1fb5e2c2a6d1f0c3e8a7',
  signature: '5d2d3ceb7abe552344276d47d36a8175b7aeb250a9bf0bf00e850cd23ecf2e43',
} as const;

/** The `sha256` of a file, which is its last field where it is packed. */
const sealIn = (file: unknown): string =>
  isPacked(file) ? /[0-9a-f]{64}(?="}\s*$)/.exec(TAIL.decode(file.subarray(-SEAL_END)))![0] : (file as HostFile).sha256;

const TAIL = new TextDecoder();
/** Characters that there are from the seal on, and some more. */
const SEAL_END = 80;

const signatureOf = (key: string, sha256: string): string => createHmac('sha256', key).update(sha256).digest('hex');

function isSignedWith(key: string, sha256: string, signature: string): boolean {
  return timingSafeEqual(Buffer.from(signatureOf(key, sha256)), Buffer.from(signature));
}

interface Light {
  name: string;
  size: { functions: number; units: number };
  sha256: string;
  signature: string;
}

/** What is checked of a file where it is read, which may be in another thread. */
function checked({ signature, ...file }: z.output<typeof File>): { heavy: HostFile; light: Light } {
  const given = file as unknown as HostFile;
  if (atOnce(sealOf(given)) !== given.sha256) {
    const reason = 'the file is not what it was: one of its fields has changed, or is missing';
    throw invalid([{ in: 'body', pointer: '/sha256', reason }]);
  }
  const { functions, iommus } = given.spec.machine;
  const size = { functions: functions.length, units: iommus.length };
  // What has happened is for people.
  return {
    heavy: { ...given, history: [] },
    light: { name: given.origin.name, size, sha256: given.sha256, signature },
  };
}

export const FILE_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/hosts/{host}/export',
    operationId: 'exportHost',
    tag: 'Hosts',
    summary: 'Save a host as a file',
    description:
      'The host as it is, with the commands that have led there: one JSON document, to be kept, to be attached to a report, or given to POST /v1/hosts/import. It holds the contents of the simulated memory unless they are left out.',
    access: 'tenant',
    versioned: false,
    problems: ['too-costly'],
    query: strict({
      without: z
        .enum(['memory'])
        .meta({
          description:
            'Leaves out what programs and devices have written into memory, which reads as zeroes then, also in `history`.',
        })
        .optional(),
    }),
    success: { 200: { description: 'The file.', schema: File, example: EXAMPLE } },
    async handle({ lanes, fileKey }, { host, query: { without } }, reply) {
      const asked = { of: 'file', contents: without !== 'memory' } as const;
      const file = passed(await lanes.lookBack(host.id, asked));
      reply.header('content-disposition', `attachment; filename="${host.id}.json"`);
      return withFields(file, { signature: signatureOf(fileKey, sealIn(file)) });
    },
  }),
  heavyRoute({
    method: 'POST',
    path: '/v1/hosts/import',
    operationId: 'importHost',
    tag: 'Hosts',
    summary: 'Make a host of a file',
    description:
      'The host is as it was when the file was made, under a new id, and from then on has nothing to do with the other one. A file is taken that this service has made, or one with the same HOLDOVER_FILE_KEY; in development mode, any that is undamaged.',
    access: 'tenant',
    query: strict({ label: givenLabels, ttlSeconds: ttlText }),
    body: File,
    bodyExample: EXAMPLE as never,
    bodyLimit: MOST_FILE,
    success: {
      201: {
        description: 'The host.',
        schema: CreatedHost,
        example: CREATED_EXAMPLE,
      },
    },
    prepare: ({ body }) => checked(body),
    async handle(context, { body: { heavy: file, light }, query, tenant }, reply) {
      const { lanes, quotas, dev, fileKey, before } = context;
      const { name, size, sha256, signature } = light;
      if (!dev && !isSignedWith(fileKey, sha256, signature)) {
        const reason =
          'another service has made the file: it is taken by one that has the same HOLDOVER_FILE_KEY, or is in development mode';
        throw invalid([{ in: 'body', pointer: '/signature', reason }]);
      }
      const row = await identityOf(context, { name, labels: query.label, ttlSeconds: query.ttlSeconds });
      const make = () => quotas.create(tenant, size, () => lanes.create({ ...row, tenantId: tenant.id, file }));
      const view = passed(before?.answer ?? (await make()));
      reply.header('location', `/v1/hosts/${row.id}`);
      return withFields(view, { ...row, notes: [] });
    },
  }),
];
