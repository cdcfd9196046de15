/** The commands that requests would give a host: each is read as ever, and stopped where it would go to the lane. */
import type { FastifyReply } from 'fastify';
import type { z } from 'zod';
import type { Command } from '../host/command.ts';
import type { Lanes } from '../lanes/lanes.ts';
import { type Packed, unpack } from '../threads/packed.ts';
import { pathSchema } from './parameters.ts';
import { type FieldError, Problem } from './problems.ts';
import type { Context, Method, Route } from './route.ts';
import { strict } from './schemas/values.ts';
import { bodyOf } from './serve-route.ts';
import { invalid, read } from './validation.ts';

/** A request to a host: the path is that below the host, as `/processes/1/iommufds`. */
export interface AskedRequest {
  method: Method;
  path: string;
  body?: unknown;
}

/** What a handler has asked of the lane; it is thrown, as nothing is to be answered. Null: something else than a command. */
class Asked {
  readonly command: Command | null;
  constructor(command: Command | null) {
    this.command = command;
  }
}

type Whose = Pick<Parameters<Route['handle']>[1], 'tenant' | 'host'>;

/** One command for each request. Throws a problem that names the first one which is none, or does not change anything. */
export async function commandsOf(
  context: Context,
  requests: readonly AskedRequest[],
  whose: Whose,
  reply: FastifyReply,
): Promise<Command[]> {
  const commands: Command[] = [];
  for (const [index, request] of requests.entries()) {
    const command = await commandOf(context, request, whose, reply).catch((error: unknown) => {
      throw error instanceof Problem ? within(index, error) : error;
    });
    if (typeof command === 'string') throw invalid([{ in: 'body', pointer: `/requests/${index}`, reason: command }]);
    commands.push(command);
  }
  return commands;
}

async function commandOf(
  context: Context,
  { method, path, body }: AskedRequest,
  whose: Whose,
  reply: FastifyReply,
): Promise<Command | string> {
  const [names, search = ''] = path.split('?', 2) as [string, string?];
  const found = routeOf(context.routes, method, names);
  if (found === null) return `there is no ${method} ${names} below a host`;
  const { route, given } = found;
  const params = read(pathSchema(route.path), { host: whose.host.id, ...given }, 'path');
  const query = read(route.query ?? NO_QUERY, Object.fromEntries(new URLSearchParams(search)), 'query');
  const values = { params, query, body: bodyOf(route, { params, query }, body), ...whose };
  const none = (): never => {
    throw new Asked(null);
  };
  const lanes: Lanes = {
    ...context.lanes,
    ...{ create: none, batch: none, copy: none, restore: none, remove: none, retry: none, stop: none },
    execute: (_hostId: string, command: Command | Packed<Command>) => {
      throw new Asked(unpack<Command>(command));
    },
  };
  try {
    await route.handle({ ...context, lanes }, values as never, reply);
  } catch (error) {
    if (!(error instanceof Asked)) throw error;
    if (error.command !== null) return error.command;
  }
  return `${method} ${names} gives the host no command that could be repeated`;
}

const NO_QUERY: z.ZodType = strict({});
const BELOW = '/v1/hosts/{host}';

/** The route of a path below a host, and what stands in it. Batches, which are no single command, are none. */
function routeOf(
  routes: readonly Route[],
  method: Method,
  path: string,
): { route: Route; given: Record<string, string> } | null {
  const parts = path.split('/');
  for (const route of routes) {
    if (route.method !== method || method === 'GET' || route.raw || !route.path.startsWith(`${BELOW}/`)) continue;
    const wanted = route.path.slice(BELOW.length).split('/');
    if (wanted.length !== parts.length) continue;
    const given: Record<string, string> = {};
    const fits = wanted.every((name, at) => {
      const part = decodeURIComponent(parts[at]!);
      if (!name.startsWith('{')) return name === part;
      given[name.slice(1, -1)] = part;
      return part !== '';
    });
    if (fits) return { route, given };
  }
  return null;
}

/** The problem of a request in a list. */
function within(index: number, { extras, message }: Problem): Problem {
  const errors = extras.errors ?? [];
  const moved = errors.map((error): FieldError => {
    const where = error.in === 'body' ? '/body' : error.in === 'path' ? '/path' : '/path?';
    return { ...error, in: 'body', pointer: `/requests/${index}${where}${error.pointer}` };
  });
  return moved.length > 0 ? invalid(moved) : invalid([{ in: 'body', pointer: `/requests/${index}`, reason: message }]);
}
