/** Named snapshots of a host: a prepared host is brought back, in place, as often as tests need it. */
import { z } from 'zod';
import { MAX_SNAPSHOTS } from '../../limits.ts';
import { listed, passed } from '../answers.ts';
import { type Route, route } from '../route.ts';
import { listOf, Nanoseconds, strict, whole } from '../schemas/values.ts';

const SNAPSHOTS = '/v1/hosts/{host}/snapshots';
const tag = 'Hosts';
const access = 'tenant';

const Snapshot = strict({
  name: z.string(),
  sequence: z.int().meta({ description: 'The command that has taken it, behind which the host was so.' }),
  kernel: z.int().meta({ description: 'Number of the kernel that ran.' }),
  time: Nanoseconds,
}).meta({ id: 'Snapshot' });

const EXAMPLE = { name: 'ready', sequence: 12, kernel: 1, time: '12000' };

export const SNAPSHOT_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: SNAPSHOTS,
    operationId: 'listSnapshots',
    tag,
    summary: 'List named snapshots',
    description: 'In the order in which they were taken.',
    access,
    success: {
      200: { description: 'All of them.', schema: listOf('SnapshotList', Snapshot), example: whole([EXAMPLE]) },
    },
    handle: async ({ lanes }, { host }) => listed(await lanes.query(host.id, { view: 'snapshots' })),
  }),
  route({
    method: 'PUT',
    path: `${SNAPSHOTS}/{snapshot}`,
    operationId: 'putSnapshot',
    tag,
    summary: 'Take a named snapshot',
    description: `What the host is now gets a name; it takes no room. One of the same name is forgotten. A host has ${MAX_SNAPSHOTS} at most (ENOSPC).`,
    access,
    refusable: true,
    success: { 200: { description: 'It is taken.', schema: Snapshot, example: EXAMPLE } },
    handle: async ({ lanes }, { host, params: { snapshot: name } }) =>
      passed(await lanes.execute(host.id, { op: 'snapshot.put', name })),
  }),
  route({
    method: 'POST',
    path: `${SNAPSHOTS}/{snapshot}/restore`,
    operationId: 'restoreSnapshot',
    tag,
    summary: 'Bring a host back to a snapshot',
    description:
      'In place: all is as it was then, processes, descriptors, memory, simulated time; the host has the snapshots that it has now, and its log goes on. That is possible as long as the commands are kept from which it has to be built, 100,000 at least; then it is 404.',
    access,
    refusable: true,
    problems: ['too-costly'],
    success: {
      200: {
        description: 'The host is as it was.',
        schema: strict({ name: z.string(), sequence: z.int() }).meta({ id: 'Restored' }),
        example: { name: 'ready', sequence: 12 },
      },
    },
    handle: async ({ lanes }, { host, params: { snapshot } }) => passed(await lanes.restore(host.id, snapshot)),
  }),
  route({
    method: 'DELETE',
    path: `${SNAPSHOTS}/{snapshot}`,
    operationId: 'deleteSnapshot',
    tag,
    summary: 'Forget a named snapshot',
    description: 'The host stays as it is; the name is free.',
    access,
    refusable: true,
    success: { 204: { description: 'It is forgotten.' } },
    async handle({ lanes }, { host, params: { snapshot: name } }) {
      passed(await lanes.execute(host.id, { op: 'snapshot.delete', name }));
    },
  }),
];
