/** A tenant begins anew, or what a label marks: all of its hosts go, with all that there is of them. */
import { z } from 'zod';
import { removeHosts } from '../../lanes/removal.ts';
import { removeHost } from '../removal.ts';
import { type Route, route } from '../route.ts';
import { LabelFilter } from '../schemas/labels.ts';
import { strict } from '../schemas/values.ts';
import { removeThrowAways } from './throw-aways.ts';

export const RESET_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/v1/reset',
    operationId: 'resetTenant',
    tag: 'Service',
    summary: 'Begin anew',
    description:
      'Deletes all hosts of the tenant that are there, and its throw-away tenants with theirs; or the hosts with a label: their history, events, snapshots and all else that is stored of them. It is gone when this answers. Where one of them cannot be deleted the answer says why, and others may be gone: ask again.',
    access: 'tenant',
    frees: 'everything',
    body: strict({ label: LabelFilter.optional() }),
    bodyExample: { label: 'suite=nightly' },
    success: {
      200: {
        description: 'They are gone.',
        schema: strict({
          hosts: z.int().meta({ description: 'How many hosts.' }),
          tenants: z.int().meta({ description: 'How many throw-away tenants.' }),
        }).meta({ id: 'Reset' }),
        example: { hosts: 12, tenants: 0 },
      },
    },
    async handle(context, { tenant, body: { label } }) {
      const { directory } = context;
      const filter = { ...(label && { labels: [label] }) };
      const hosts = await removeHosts(directory, tenant.id, filter, (id) => removeHost(context, id));
      if (label !== undefined) return { hosts, tenants: 0 };
      const children = await directory.tenants.children(tenant.id);
      return { hosts: hosts + (await removeThrowAways(context, children)), tenants: children.length };
    },
  }),
];
