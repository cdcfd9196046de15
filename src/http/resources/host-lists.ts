/** Many hosts at once: listing them, finding them by label or name, and deleting them together. */
import { z } from 'zod';
import { removeHosts } from '../../lanes/removal.ts';
import type { HostCursor, HostFilter } from '../../store/store.ts';
import { limit } from '../parameters.ts';
import { removeHost } from '../removal.ts';
import { type Route, route } from '../route.ts';
import { HostList } from '../schemas/host.ts';
import { Labels, labelFilters } from '../schemas/labels.ts';
import { name, strict } from '../schemas/values.ts';
import { invalid } from '../validation.ts';
import { SUMMARY_EXAMPLE, summaryOf } from './hosts.ts';

const HOSTS_PAGE = 100;
const tag = 'Hosts';
const access = 'tenant';

/** The page token, opaque to callers: the last host of the page before. */
function tokenOf({ created, id }: HostCursor): string {
  return Buffer.from(JSON.stringify([created, id])).toString('base64url');
}

const after = z
  .string()
  .transform((token, context): HostCursor => {
    try {
      const [created, id] = z
        .tuple([z.string(), z.string()])
        .parse(JSON.parse(Buffer.from(token, 'base64url').toString()));
      return { created, id };
    } catch {
      context.addIssue({ code: 'custom', message: 'expected the nextPageToken of an answer, as it is' });
      return z.NEVER;
    }
  })
  .meta({
    description: 'The `nextPageToken` of the page before.',
    override: { examples: ['WyIyMDI2LTAxLTMxVDEyOjAwOjAwLjAwMFoiLCJoLTZqeDJtNHZxN3IzdGE1Y24iXQ'] },
  })
  .optional();

const filter = {
  label: labelFilters,
  name: name('Only hosts of exactly this name.')
    .meta({ examples: ['walk-through'] })
    .optional(),
};

const filterOf = ({ label, name }: { label?: HostFilter['labels']; name?: string | undefined }): HostFilter => ({
  name,
  labels: label,
});

const Deleted = strict({ deleted: z.int().meta({ description: 'How many hosts.' }) }).meta({ id: 'DeletedHosts' });
const deletedAnswer = { description: 'They are gone.', schema: Deleted, example: { deleted: 12 } };

const AGAIN = 'Where one of them cannot be deleted the answer says why, and others may be gone: ask again.';

export const HOST_LIST_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/hosts',
    operationId: 'listHosts',
    tag,
    summary: 'List hosts',
    description:
      'In the order in which they were made. What a list tells of a host its events say, as it is not loaded for that: after long use `state`, `kernel` and `hazards` are of the events that are kept.',
    access,
    query: strict({ limit: limit(1000, HOSTS_PAGE), after, ...filter }),
    success: {
      200: {
        description: 'A page of hosts.',
        schema: HostList,
        example: { items: [{ ...SUMMARY_EXAMPLE, state: 'running', kernel: 2, hazards: 0 }], nextPageToken: null },
      },
    },
    async handle(context, { query, tenant }) {
      const { directory } = context;
      const found = await directory.hosts.list(tenant.id, query.limit + 1, query.after, filterOf(query));
      const items = found.slice(0, query.limit);
      return {
        items: items.map(({ state, kernel, hazards, ...host }) => ({
          ...summaryOf(context, host),
          state,
          kernel,
          hazards,
        })),
        nextPageToken: found.length > items.length ? tokenOf(items.at(-1)!) : null,
      };
    },
  }),
  route({
    method: 'DELETE',
    path: '/v1/hosts',
    operationId: 'deleteHosts',
    tag,
    summary: 'Delete the hosts with these labels, or of this name',
    description: `With their history. At least one of \`label\` and \`name\` is needed. ${AGAIN}`,
    access,
    query: strict(filter),
    success: { 200: deletedAnswer },
    async handle(context, { query, tenant }) {
      if (query.name === undefined && (query.label ?? []).length === 0) {
        const reason = 'required: `label` or `name`; POST /v1/reset deletes all hosts';
        throw invalid([{ in: 'query', pointer: '/label', reason }]);
      }
      return {
        deleted: await removeHosts(context.directory, tenant.id, filterOf(query), (id) => removeHost(context, id)),
      };
    },
  }),
  route({
    method: 'PUT',
    path: '/v1/hosts/{host}/labels',
    operationId: 'setLabels',
    tag,
    summary: 'Give a host other labels',
    description:
      'They take the place of all that it has. They are no part of the simulated host: nothing else changes.',
    access,
    frees: 'everything',
    body: strict({ labels: Labels }),
    bodyExample: { labels: { suite: 'nightly' } },
    success: {
      200: {
        description: 'Its labels.',
        schema: strict({ labels: Labels }).meta({ id: 'HostLabels' }),
        example: { labels: { suite: 'nightly' } },
      },
    },
    async handle({ directory }, { host, body: { labels } }) {
      await directory.hosts.setLabels(host.id, labels);
      return { labels };
    },
  }),
];
