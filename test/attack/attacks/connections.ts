/** Connections: many, slow, silent, unread; and floods of what needs no key. */
import { setTimeout } from 'node:timers/promises';
import { MAX_READ, MAX_TRANSFER } from '../../../src/limits.ts';
import type { Attack } from '../attack.ts';
import type { Attacker } from '../attacker.ts';
import { alone, hex, MIB, mmap, times, VA } from '../prey.ts';

/** The same request, from so many connections at a time, as often as they are answered. */
const flood = (method: string, path: string, headers: Record<string, string> = {}): Attack['begin'] => {
  return async (attacker: Attacker) => () => attacker.loops(64, () => attacker.request(method, path, { headers }));
};

export const CONNECTIONS: readonly Attack[] = [
  {
    name: 'slow headers',
    tries: '1,000 connections whose headers come byte by byte.',
    begin: async (attacker) => {
      const sockets = await Promise.all(times(attacker.size(1000), () => attacker.socket()));
      for (const socket of sockets) socket.resume().write('GET /v1/hosts HTTP/1.1\r\nhost: x\r\nx: ');
      return async () => {
        for (const socket of sockets) if (!socket.destroyed) socket.write('x');
        await setTimeout(200);
      };
    },
  },
  {
    name: 'many connections',
    tries: '4,000 connections that say nothing; then each asks once.',
    begin: async (attacker) => {
      const sockets = await Promise.all(times(attacker.size(4000), () => attacker.socket()));
      const head = attacker.head('GET', '/v1/hosts');
      for (const socket of sockets) socket.resume();
      return async () => {
        for (const socket of sockets) if (!socket.destroyed) socket.write(head);
        await setTimeout(2000);
      };
    },
  },
  {
    name: 'connections opened and closed',
    tries: 'As many as can be, each for nothing.',
    begin: async (attacker) => () =>
      attacker.loops(64, async () => {
        const socket = await attacker.socket();
        socket.resetAndDestroy();
      }),
  },
  {
    name: 'pipelining',
    tries: '32 connections, on each of which 1,000 requests are sent before an answer is read.',
    begin: async (attacker) => {
      const { path, host } = await alone(attacker);
      const body = '{"calls":[{"call":"fork"}]}';
      const post = attacker.head('POST', `${path}/calls`, {
        'content-type': 'application/json',
        'content-length': body.length,
      });
      const text = `${attacker.head('GET', host)}${post}${body}`.repeat(attacker.size(500));
      return async () => {
        const sockets = await Promise.all(times(32, () => attacker.socket()));
        for (const socket of sockets) socket.resume().write(text);
        await setTimeout(1000);
        for (const socket of sockets) socket.destroy();
      };
    },
  },
  {
    name: 'unread answers',
    tries: '64 connections that ask for the largest answers there are, and never read one.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      await process.do(mmap(MIB));
      const calls = times(MAX_READ / MAX_TRANSFER, () => ({ call: 'peek', addr: hex(VA), length: MAX_TRANSFER }));
      const body = JSON.stringify({ calls });
      const head = attacker.head('POST', `${process.path}/calls`, {
        'content-type': 'application/json',
        'content-length': body.length,
      });
      return async () => {
        const sockets = await Promise.all(times(64, () => attacker.socket()));
        for (const socket of sockets) socket.pause().write(head + body);
        await setTimeout(3000);
      };
    },
  },
  {
    name: 'unread small answers',
    tries: '256 connections ask for a list again and again, and never read.',
    begin: async (attacker) => {
      await Promise.all(times(50, () => attacker.post('/v1/hosts', { preset: 'mock' })));
      const text = attacker.head('GET', '/v1/hosts').repeat(100);
      const sockets = await Promise.all(times(256, () => attacker.socket()));
      for (const socket of sockets) socket.pause();
      return async () => {
        for (const socket of sockets) if (!socket.destroyed && socket.writableLength === 0) socket.write(text);
        await setTimeout(200);
      };
    },
  },
  { name: 'HEAD flood', tries: 'HEAD of a list from 64 connections.', begin: flood('HEAD', '/v1/hosts') },
  { name: 'OPTIONS flood', tries: 'OPTIONS from 64 connections.', begin: flood('OPTIONS', '/v1/hosts') },
  {
    name: 'flood without a key',
    tries: 'Requests whose key is wrong, another one each time.',
    begin: async (attacker) => {
      let turn = 0;
      return () =>
        attacker.loops(64, () =>
          attacker.get('/v1/hosts', { authorization: `Bearer wrong-${turn++}-${'x'.repeat(4000)}` }),
        );
    },
  },
  {
    name: 'flood of paths that are none',
    tries: '404 from 64 connections.',
    begin: flood('GET', `/v1/${'x/'.repeat(3000)}`),
  },
  {
    name: 'flood of the largest documents',
    tries: 'The OpenAPI document and the pages, which need no key.',
    begin: async (attacker) => {
      const paths = ['/openapi.json', '/docs', '/readyz', '/livez', '/docs/static/swagger-ui-bundle.js'];
      return () => attacker.loops(64, (loop) => attacker.get(paths[loop % paths.length]!));
    },
  },
  {
    name: 'flood of probes',
    tries: '/readyz and /livez from 64 connections.',
    begin: async (attacker) => () => attacker.loops(64, (loop) => attacker.get(loop % 2 === 0 ? '/readyz' : '/livez')),
  },
  {
    name: 'event streams',
    tries: 'As many streams of events as are let in, all of a host in which very much happens.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      const head = attacker.head('GET', `${process.host}/events`, { accept: 'text/event-stream' });
      const sockets = await Promise.all(times(attacker.size(200), () => attacker.socket()));
      for (const socket of sockets) socket.resume().write(head);
      const accesses = times(500, (index) => ({ op: 'read', iova: hex(index * 4096), length: 4 }));
      return () => attacker.post(`${process.host}/devices/0000:01:00.0/dma`, { accesses });
    },
  },
  {
    name: 'event streams that nobody reads',
    tries: 'The same, unread; and requests that wait for what does not come.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      const head = attacker.head('GET', `${process.host}/events`, { accept: 'text/event-stream' });
      const sockets = await Promise.all(times(64, () => attacker.socket()));
      for (const socket of sockets) socket.pause().write(head);
      const accesses = times(500, (index) => ({ op: 'read', iova: hex(index * 4096), length: 4 }));
      return () =>
        Promise.all([
          attacker.post(`${process.host}/devices/0000:01:00.0/dma`, { accesses }),
          attacker.get(`${process.host}/events?wait=1s&after=999999-0`),
          attacker.get(`${process.host}/events?limit=1000`),
        ]);
    },
  },
];
