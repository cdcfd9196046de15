/** What kernels and hardware have told: read page by page, waited for, streamed, or as a text for people. */
import type { SSEMessage } from '@fastify/sse';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import type { HostEvent } from '../../host/views.ts';
import { EVENT_KINDS, EVENTS, SEVERITIES, type Severity } from '../../kernel/events.ts';
import { HAZARD_NAMES, HAZARDS } from '../../kernel/hazards.ts';
import {
  accountOf,
  type EventFilter,
  type EventId,
  type EventPage,
  type HostIdentity,
  type Tenant,
} from '../../store/store.ts';
import { prefersText } from '../accept.ts';
import { granted, notFound } from '../answers.ts';
import { unavailable } from '../errors.ts';
import { eventView, idOf } from '../event-view.ts';
import { Problem } from '../problems.ts';
import { type Context, type Route, route } from '../route.ts';
import { EventsQuery, HostEventList, PLACE_RULE, parsePlace } from '../schemas/events.ts';
import { timeline } from '../timeline.ts';
import { UNREAD_SECONDS, type Watcher } from '../watchers.ts';

/** Events that a stream reads at a time, in its turn: about a millisecond's work. */
const STREAM_PAGE = 50;

const EXAMPLE: HostEvent = {
  id: '12-0',
  sequence: 12,
  index: 0,
  time: '12000',
  kernel: 1,
  kind: 'dma.fault',
  severity: 'warning',
  message: '0000:01:00.0: read of 0x1000 is refused: not-mapped',
  data: { bdf: '0000:01:00.0', reason: 'not-mapped', op: 'read', iova: '0x1000' },
};

export const EVENT_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/hosts/{host}/events',
    operationId: 'listEvents',
    tag: 'Hosts',
    summary: 'Read, await or stream the events of a host',
    description:
      'Boots, claims, attaches, faults, resets, hazards, in the order in which they happened. `wait` holds an empty page ' +
      'back until there is something. With `Accept: text/event-stream` they come as server-sent events, those that are ' +
      'there and then those that happen, each with its `id`: who comes back with `Last-Event-ID` misses nothing and gets ' +
      'nothing twice, and is told by an event of the name `gap` where some have gone in the meantime. With ' +
      '`Accept: text/plain` the page is a text for people.',
    access: 'tenant',
    streams: true,
    versioned: false,
    query: EventsQuery,
    problems: ['gone', 'too-many-waiting'],
    success: {
      200: {
        description: 'A page of events, or a stream of them.',
        schema: HostEventList,
        example: { items: [EXAMPLE], nextPageToken: null },
        also: {
          'text/event-stream': {
            schema: z.string(),
            example: `id: ${EXAMPLE.id}\ndata: ${JSON.stringify(EXAMPLE)}\n\n`,
          },
          'text/plain': {
            schema: z.string(),
            example: timeline({ items: [EXAMPLE], nextPageToken: null, oldest: null }),
          },
        },
      },
    },
    async handle(context, { host, tenant, query }, reply) {
      const { after = null, limit, wait = 0 } = query;
      const log: Log = { context, host, tenant, filter: filterOf(query) };
      if (!(await context.directory.events.areStored(host.id))) {
        // A host of an earlier version gets them when it is built.
        granted(await context.lanes.query(host.id, { view: 'faults' }));
        if (!(await context.directory.events.areStored(host.id)))
          throw unavailable('The events of this host cannot be stored yet. Nothing has changed: try again.');
      }
      if (reply.sse && reply.request.method === 'GET') return await stream(log, placeOf(reply) ?? after, reply);
      const page = wait === 0 ? await read(log, after, limit + 1) : await awaitPage(log, after, limit + 1, wait, reply);
      if (page.missed) throw tooLate(page.oldest!);
      const items = page.events.slice(0, limit).map(eventView);
      const nextPageToken = page.events.length > limit ? items.at(-1)!.id : null;
      reply.header('vary', 'accept');
      if (!prefersText(reply.request.headers.accept)) return { items, nextPageToken };
      reply.type('text/plain; charset=utf-8');
      const oldest = after === null && page.oldest !== null ? idOf(page.oldest) : null;
      return timeline({ items, nextPageToken, oldest });
    },
  }),
];

interface Log {
  context: Context;
  host: HostIdentity;
  tenant: Tenant;
  filter: EventFilter;
}

function filterOf({ kind, hazard, severity, bdf, kernel, from, to }: EventsQuery): EventFilter {
  const least = severity === undefined ? 0 : SEVERITIES.indexOf(severity);
  const isSevere = (event: { severity: Severity }): boolean => SEVERITIES.indexOf(event.severity) >= least;
  const kinds = (kind ?? EVENT_KINDS).filter((one) => isSevere(EVENTS[one]) && (!hazard || one === 'hazard'));
  const hazards = (hazard ?? HAZARD_NAMES).filter((one) => isSevere(HAZARDS[one]));
  return {
    ...(kinds.length < EVENT_KINDS.length && { kinds }),
    ...(hazards.length < HAZARD_NAMES.length && { hazards }),
    bdf,
    kernel,
    from,
    to,
  };
}

/** Where a client goes on that has been here before; undefined: it has not. */
function placeOf({ sse }: FastifyReply): EventId | null | undefined {
  if (sse.lastEventId === null) return undefined;
  const place = parsePlace(sse.lastEventId);
  if (place !== undefined) return place;
  throw new Problem('invalid-request', `header Last-Event-ID: expected ${PLACE_RULE}`);
}

function tooLate(oldest: EventId): Problem {
  const id = idOf(oldest);
  const detail = `Some of the events behind that one are no longer kept; the oldest one that is has the id ${id}: read on without \`after\`.`;
  return new Problem('gone', detail, { oldest: id });
}

const read = ({ context, host, filter }: Log, after: EventId | null, limit: number): Promise<EventPage> =>
  context.directory.events.read(host.id, filter, after, limit);

/** From now on no event gets past; until the answer has ended, or the client has left. */
async function watch({ context, host, tenant }: Log, reply: FastifyReply): Promise<Watcher> {
  const watcher = context.watchers.watch(accountOf(tenant), host.id, context.quotas.of(tenant).streams);
  const { socket } = reply.request;
  const leave = (): void => watcher.leave();
  // Of a client that has gone this is the first sign: the service lets its clients close their side.
  socket.once('end', leave);
  reply.raw.once('close', () => {
    socket.off('end', leave);
    leave();
  });
  if (socket.readableEnded) leave();
  // It may have been deleted since it was looked up.
  if ((await context.directory.hosts.get(host.id)) === undefined) watcher.end('deleted');
  return watcher;
}

/** The first page that is not empty, or an empty one when it has been waited for so many milliseconds. */
async function awaitPage(
  log: Log,
  after: EventId | null,
  limit: number,
  wait: number,
  reply: FastifyReply,
): Promise<EventPage> {
  const watcher = await watch(log, reply);
  const end = performance.now() + wait;
  try {
    for (let at = after; ; ) {
      await log.context.watchers.turns.take();
      const page = await read(log, at, limit);
      if (watcher.ended === 'deleted') throw notFound('There is no such host any more.');
      const left = end - performance.now();
      if (page.events.length > 0 || page.missed || watcher.ended !== null || left <= 0) return page;
      at = page.reached;
      await watcher.next(left);
    }
  } finally {
    watcher.leave();
  }
}

/** Ends when the client leaves, the host is deleted or the service stops; a client comes back by itself then. */
async function stream(log: Log, after: EventId | null, reply: FastifyReply): Promise<void> {
  const { sse, raw } = reply;
  const watcher = await watch(log, reply);
  let page = await read(log, after, STREAM_PAGE);
  sse.sendHeaders();
  raw.flushHeaders();
  raw.socket?.setTimeout(UNREAD_SECONDS * 1000);
  while (watcher.ended === null) {
    if (page.missed) await send(sse, { event: 'gap', data: { oldest: idOf(page.oldest!) } });
    for (const event of page.events) await send(sse, { id: idOf(event), data: eventView(event) });
    if (page.events.length === 0) await watcher.next();
    if (watcher.ended !== null) return;
    page = await readOn(log, page.reached, reply);
  }
}

/** Waits while the client does not read; where it leaves then, for ever: whoever must know that hears of `close`. */
async function send(sse: FastifyReply['sse'], message: SSEMessage): Promise<void> {
  if (sse.isConnected) await sse.send(message);
}

/** What goes wrong now can only end the stream. */
async function readOn(log: Log, after: EventId | null, { request, sse }: FastifyReply): Promise<EventPage> {
  try {
    await log.context.watchers.turns.take();
    return await read(log, after, STREAM_PAGE);
  } catch (error) {
    request.log.error(
      { reqId: request.id, err: error, host: log.host.id },
      'a stream of events has ended, as the store cannot be read',
    );
    sse.close();
    return { events: [], reached: after, oldest: null, missed: false };
  }
}
