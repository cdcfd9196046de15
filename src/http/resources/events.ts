/** The log of a host: what dmesg and the hardware would show. */
import type { HostEvent } from '../../host/views.ts';
import { granted } from '../answers.ts';
import { integerText, limit } from '../parameters.ts';
import { type Route, route } from '../route.ts';
import { strict } from '../schemas/values.ts';
import { HostEventList } from '../schemas/views.ts';

const EVENTS_PAGE = 100;

export const EVENT_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/hosts/{host}/events',
    operationId: 'listEvents',
    tag: 'Hosts',
    summary: 'Read the log of a host',
    description: 'Boots, claims, attaches, faults, resets, hazards, in the order in which they happened.',
    access: 'tenant',
    query: strict({
      after: integerText(
        0,
        Number.MAX_SAFE_INTEGER,
        'The `sequence` behind which the page begins: the `nextPageToken` of the page before.',
        0,
      ).default(0),
      limit: limit(1000, EVENTS_PAGE),
    }),
    success: {
      200: {
        description: 'A page of events.',
        schema: HostEventList,
        example: {
          items: [{ sequence: 1, time: '0', kernel: 1, kind: 'boot', message: 'kernel 1 boots', data: {} }],
          nextPageToken: null,
        },
      },
    },
    async handle({ lanes }, { host, query: { after, limit } }) {
      const answer = await lanes.query(host.id, { view: 'events', after, limit: limit + 1 });
      const found = granted<HostEvent[]>(answer);
      const items = found.slice(0, limit);
      return { items, nextPageToken: found.length > limit ? String(items.at(-1)!.sequence) : null };
    },
  }),
];
