/** Hosts: making them from a description, reading and deleting them. */
import type { Answer, HostSpec, Refused } from '../../host/command.ts';
import { type BuiltHost, buildHostSpec, type DeviceRequest, type HostRequest } from '../../host/host-spec.ts';
import type { HostView } from '../../host/views.ts';
import type { CopyRow } from '../../lanes/copies.ts';
import { HostDamaged, HostSetAside } from '../../lanes/errors.ts';
import type { Lanes, NewHost } from '../../lanes/lanes.ts';
import { MAX_ERRORS } from '../../limits.ts';
import { parseBdf } from '../../machine/topology/functions.ts';
import { PRESET_NAMES, PRESETS } from '../../machine/topology/presets.ts';
import {
  type Damage,
  damagedDescription,
  type HostIdentity,
  type HostSummary,
  type Labels,
  type Tenant,
} from '../../store/store.ts';
import { granted, notFound, passed, withFields, withPart } from '../answers.ts';
import { hostOf } from '../auth.ts';
import { type FieldError, Problem } from '../problems.ts';
import { removeHost } from '../removal.ts';
import { type Context, heavyRoute, type Route, route } from '../route.ts';
import { type CopyRequest, CreatedHost, Host, HostInput, PresetList } from '../schemas/host.ts';
import { whole } from '../schemas/values.ts';
import { invalid } from '../validation.ts';

const HOST_VIEW_EXAMPLE = {
  state: 'running',
  panic: null,
  kernel: 1,
  profile: 'persisted-domains',
  policies: {
    finish: 'adopted',
    gate: 'claim',
    markAutoHwpt: 'refuse',
    freezeRestoredMemfd: true,
    hitlessReplace: true,
    vfioFreezeResets: false,
    virtualFunctions: 'refuse',
  },
  boot: { kho: true, liveupdate: true, builtinDrivers: [] },
  liveupdateNumber: 0,
  kexecCount: 0,
  memory: {
    total: '0x400000000',
    free: '0x3ffff0000',
    preserved: '0x0',
    reserved: '0x0',
    owners: { 'page-table': '0x10000' },
  },
  time: '0',
};

const IDENTITY_EXAMPLE = {
  id: 'h-6jx2m4vq7r3ta5cn',
  name: 'lab',
  created: '2026-01-31T12:00:00.000Z',
  labels: { suite: 'nightly' },
  expiresAt: '2026-01-31T13:00:00.000Z',
};
const DIGEST_EXAMPLE = '7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730';
const WHOLE = { diverged: null, damage: null, setAside: null };
export const SUMMARY_EXAMPLE = { ...IDENTITY_EXAMPLE, ...WHOLE };
/** Of a host that was made. */
export const CREATED_EXAMPLE = {
  ...IDENTITY_EXAMPLE,
  ...HOST_VIEW_EXAMPLE,
  devices: [],
  notes: [
    {
      line: 1,
      text: 'IOMMU Group 0 00:01.0 Host bridge [0600]: Advanced Micro Devices, Inc. [AMD] Device [1022:1632]',
      what: 'the IOMMU is taken for amd-vi (ivhd0): 0000:00:01.0 is a bridge of such a machine; `iommus` says otherwise',
    },
  ],
};
const HOST_EXAMPLE = { ...SUMMARY_EXAMPLE, ...HOST_VIEW_EXAMPLE, digest: DIGEST_EXAMPLE };
export const HOST_STATE_EXAMPLE = { ...HOST_VIEW_EXAMPLE, kernel: 2, liveupdateNumber: 1, kexecCount: 1 };

/** The public part of a host's row, without its tenant, and what is wrong with it. */
export function summaryOf({ lanes, directory }: Context, host: HostSummary) {
  const { id, name, created, labels, expiresAt, diverged, damaged } = host;
  const { damage } = directory;
  if (damaged !== undefined) damage.add({ hostId: id, ...damagedDescription(damaged) });
  const known = damage.of(id)?.map(({ kind, what, since }) => ({ kind, what, since })) ?? null;
  return { id, name, created, labels, expiresAt, diverged, damage: known, setAside: lanes.setAside(id) };
}

/** What the lane answers. */
type OwnView = HostView & { digest: string; damage?: Damage };

/** Of one that is deleted just now. */
const UNKNOWN = { diverged: null, labels: {}, expiresAt: null };

/** All that can be told of a host: what it is, or, if it is not run, why and what it was made as. */
async function hostView(context: Context, host: HostIdentity) {
  const { lanes, directory } = context;
  const { view, damage } = await ownView(lanes, host.id);
  if (damage !== undefined) directory.damage.add({ hostId: host.id, ...damage });
  const row = summaryOf(context, (await directory.hosts.get(host.id)) ?? { ...host, ...UNKNOWN });
  if (view !== null) return { ...row, ...view };
  const origin = await directory.hosts.origin(host.id);
  return { ...row, spec: origin !== undefined && 'spec' in origin ? origin.spec : null };
}

async function ownView(lanes: Lanes, id: string): Promise<{ view: Omit<OwnView, 'damage'> | null; damage?: Damage }> {
  try {
    const { damage, ...view } = granted<OwnView>(await lanes.query(id, { view: 'host', digest: true }));
    return { view, ...(damage && { damage }) };
  } catch (error) {
    if (error instanceof HostDamaged || error instanceof HostSetAside) return { view: null };
    throw error;
  }
}

/**
 * The problem of a host whose drivers cannot be bound: the kernel's errno, and the fields that ask for these drivers.
 */
function unbindable(request: Named, { errno, where, rule, functions = [] }: Refused): Problem {
  const errors = functions.slice(0, MAX_ERRORS).map(
    ({ bdf, errno: own, why }): FieldError => ({
      in: 'body',
      pointer: driverPointer(request, bdf),
      reason: `the driver of ${bdf} cannot be bound: ${own}, ${why}${pastedHint(request)}`,
    }),
  );
  const more = functions.length > 1 ? ` (and ${functions.length - 1} more, see errors)` : '';
  const detail = `body ${errors[0]!.pointer}: ${errors[0]!.reason}${more}`;
  return new Problem('kernel-refusal', detail, { kernel: { errno, where, ...(rule && { rule }) }, errors });
}

/** What of a request says where its drivers come from. */
interface Named extends Pick<HostRequest, 'preset'> {
  devices?: Pick<DeviceRequest, 'bdf' | 'driver'>[] | undefined;
  pasted: boolean;
}

const namedIn = ({ preset, devices, topology }: HostRequest): Named => ({
  ...(preset && { preset }),
  devices: devices?.map(({ bdf, driver }) => ({ bdf, driver })),
  pasted: topology !== undefined,
});

/** Says what to do about a driver that a topology's text names. */
function pastedHint({ pasted }: Named): string {
  return pasted ? '; `devices` beside `topology` give a function another driver, or none (null)' : '';
}

/** What is made as another host is has no description of its own. */
type NoSpec = Record<string, never>;

interface Described {
  known: Known;
  named: Named;
  notes: BuiltHost['notes'];
  size: { functions: number; units: number };
}

interface Copied {
  known: Known;
  from: string;
  at: number | undefined;
}

/** What is asked for as a copy. Throws a problem where something else is described, too. */
function copied({ from, at, ...request }: HostRequest & CopyRequest & Known): Copied {
  const { name, labels, ttlSeconds, ...described } = request;
  const others = Object.entries(described).filter(([, value]) => value !== undefined);
  const errors = others.map(
    ([field]): FieldError => ({
      in: 'body',
      pointer: `/${field}`,
      reason: 'not beside `from`: all is as that host has it',
    }),
  );
  if (from !== undefined && errors.length === 0) return { known: { name, labels, ttlSeconds }, from, at };
  if (from === undefined)
    errors.push({ in: 'body', pointer: '/from', reason: 'required beside `at`: the id of a host' });
  throw invalid(errors);
}

async function copyHost(context: Context, tenant: Tenant, row: CopyRow, { from, at }: Copied): Promise<Answer> {
  const { lanes, quotas } = context;
  const source = await hostOf(context, tenant, from);
  await quotas.check(tenant, source.id, 'nothing');
  // As large as one that is there already.
  const size = { functions: 0, units: 0 };
  return await quotas.create(tenant, size, () => lanes.copy(source.id, row, at));
}

/** JSON pointer to the field that says which driver a function begins with. */
function driverPointer({ devices = [], preset }: Named, bdf: string): string {
  const index = devices.findIndex((device) => {
    const parsed = parseBdf(device.bdf);
    return 'bdf' in parsed && parsed.bdf === bdf && device.driver;
  });
  if (index >= 0) return `/devices/${index}/driver`;
  return preset === undefined ? '/topology/text' : '/preset';
}

/** What whoever makes a host says of it besides what it is. */
export interface Known {
  name?: string | undefined;
  labels?: Labels | undefined;
  ttlSeconds?: number | undefined;
}

type Identity = Pick<HostIdentity, 'id' | 'name' | 'created'> & { labels: Labels; expiresAt: string | null };

/**
 * What a new host is known by, and when it ends; that of the one that the request has made before, if it has. Without a name it has that
 * of its id.
 */
export async function identityOf({ lanes, directory, before }: Context, given: Known): Promise<Identity> {
  if (before === undefined) return newIdentity(lanes.newHostId(), given);
  const { id, name, created, labels, expiresAt } = (await directory.hosts.get(before.hostId)) ?? gone();
  return { id, name, created, labels, expiresAt };
}

export function newIdentity(id: string, { name = id, labels = {}, ttlSeconds }: Known): Identity {
  const now = Date.now();
  const expiresAt = ttlSeconds === undefined ? null : new Date(now + ttlSeconds * 1000).toISOString();
  return { id, name, created: new Date(now).toISOString(), labels, expiresAt };
}

function gone(): never {
  throw notFound('The host has been made, and deleted since.');
}

export const HOST_ROUTES: readonly Route[] = [
  heavyRoute({
    method: 'POST',
    path: '/v1/hosts',
    operationId: 'createHost',
    tag: 'Hosts',
    summary: 'Make a host',
    description:
      'From a preset, from the text that a real machine prints, or from a list of devices: the first kernel has booted when this answers, and drivers are bound; one that cannot be is 422. Or from another host, as it is or was: everything is the same, processes, descriptors, memory, armed faults, and from then on the two have nothing to do with each other. Labels and an end it has as they are given, and not from the other one.',
    access: 'tenant',
    problems: ['kernel-refusal', 'kernel-conflict', 'not-found'],
    body: HostInput,
    bodyExample: { name: 'lab', preset: 'vmm-lab' },
    success: {
      201: {
        description: 'The host.',
        schema: CreatedHost,
        example: CREATED_EXAMPLE,
      },
    },
    prepare({ body }): { heavy: HostSpec | NoSpec; light: Described | Copied } {
      if (body.from !== undefined || body.at !== undefined) return { heavy: {}, light: copied(body) };
      const built = buildHostSpec(body);
      if ('errors' in built) throw invalid(built.errors.map((error) => ({ in: 'body' as const, ...error })));
      const { functions, iommus } = built.spec.machine;
      const size = { functions: functions.length, units: iommus.length };
      const { name, labels, ttlSeconds } = body;
      const known = { name, labels, ttlSeconds };
      return { heavy: built.spec, light: { known, named: namedIn(body), notes: built.notes, size } };
    },
    async handle(context, { body: { heavy: spec, light }, tenant }, reply) {
      const { lanes, quotas, before } = context;
      const identity = await identityOf(context, light.known);
      const { id } = identity;
      const row = { ...identity, tenantId: tenant.id };
      const location = `/v1/hosts/${id}`;
      if ('from' in light) {
        const copy = passed(before?.answer ?? (await copyHost(context, tenant, row, light)));
        reply.header('location', location);
        return withFields(copy, { ...identity, notes: [] });
      }
      if (before !== undefined) {
        const { devices, ...view } = granted<HostView & { devices: unknown }>(before.answer);
        reply.header('location', location);
        return { ...identity, ...view, notes: light.notes, devices };
      }
      const made = await quotas.create(tenant, light.size, () => lanes.create({ ...row, spec } as NewHost));
      if (made.kind === 'refused' && made.functions) throw unbindable(light.named, made);
      const view = granted<HostView>(made);
      const devices = passed(await lanes.query(id, { view: 'devices' }));
      reply.header('location', location);
      return withPart({ ...identity, ...view, notes: light.notes }, 'devices', devices);
    },
  }),
  route({
    method: 'GET',
    path: '/v1/hosts/{host}',
    operationId: 'getHost',
    tag: 'Hosts',
    summary: 'Read a host',
    description: 'Its kernel, memory and time, and a digest of its state; of one that is not run, why.',
    access: 'tenant',
    // What is wrong with one is found out at any time.
    versioned: ({ diverged, damage, setAside }: typeof WHOLE) => !diverged && !damage && !setAside,
    success: { 200: { description: 'The host.', schema: Host, example: HOST_EXAMPLE } },
    handle: (context, { host }) => hostView(context, host),
  }),
  route({
    method: 'POST',
    path: '/v1/hosts/{host}/retry',
    operationId: 'retryHost',
    tag: 'Hosts',
    summary: 'Try a host again that is set aside',
    description:
      'A host that ended the thread that ran it is not run again until this is asked. It changes nothing about others. Where it ends the thread again, the next time is a minute later at the earliest, and then twice as long each time.',
    access: 'tenant',
    versioned: false,
    problems: ['set-aside'],
    frees: 'everything',
    success: { 200: { description: 'The host.', schema: Host, example: HOST_EXAMPLE } },
    async handle(context, { host }) {
      const seconds = Math.ceil((await context.lanes.retry(host.id)) / 1000);
      if (seconds > 0) {
        const detail = `The host has ended the thread that ran it more than once: it may be tried again in ${seconds} s.`;
        throw new Problem('set-aside', detail, { headers: { 'retry-after': String(seconds) } });
      }
      return await hostView(context, host);
    },
  }),
  route({
    method: 'DELETE',
    path: '/v1/hosts/{host}',
    operationId: 'deleteHost',
    tag: 'Hosts',
    summary: 'Delete a host',
    description: 'With its history. That is possible where the disk is full, and of a host that cannot be run.',
    access: 'tenant',
    success: { 204: { description: 'It is gone.' } },
    handle: (context, { host }) => removeHost(context, host.id),
  }),
  route({
    method: 'GET',
    path: '/v1/presets',
    operationId: 'listPresets',
    tag: 'Hosts',
    summary: 'List the machines that are ready to use',
    description: 'Each is the name of a machine for `preset` of POST /v1/hosts.',
    access: 'tenant',
    success: {
      200: {
        description: 'All of them.',
        schema: PresetList,
        example: whole([{ name: 'vmm-lab', about: 'A small VT-d server.', functions: 5, groups: 4 }]),
      },
    },
    handle: () =>
      whole(
        PRESET_NAMES.map((name) => {
          const { about, functions } = PRESETS[name];
          return {
            name,
            about,
            functions: functions.length,
            groups: new Set(functions.map(({ group }) => group)).size,
          };
        }),
      ),
  }),
];
