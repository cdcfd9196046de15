/** Bodies: very large, very deep, very slow, and never whole. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import type { Attack } from '../attack.ts';
import type { Attacker } from '../attacker.ts';
import { attached, batchPath, GIB, hex, IOVA, largeSpec, mmap, PAGE, times, VA } from '../prey.ts';

const MIB = 1 << 20;
/** The largest body that is no batch, with some room for what is around. */
const LARGEST = 4 * MIB - 1024;
const JSON_TYPE = 'application/json';
const LINES = 'application/x-ndjson';

/** Resolves when the socket has taken it, or has ended. */
async function send(socket: Socket, bytes: Uint8Array | string): Promise<void> {
  if (socket.destroyed || socket.write(bytes)) return;
  const ended = new AbortController();
  await Promise.race(['drain', 'close'].map((event) => once(socket, event, ended))).catch(() => {});
  ended.abort();
}

async function open(attacker: Attacker, path: string, type: string, length: number | null): Promise<Socket> {
  const socket = await attacker.socket();
  const size: Record<string, string | number> =
    length === null ? { 'transfer-encoding': 'chunked' } : { 'content-length': length };
  socket.resume();
  await send(socket, attacker.head('POST', path, { 'content-type': type, ...size }));
  return socket;
}

/** Bodies of this many bytes, for `/v1/hosts`, again and again. */
function bodies(make: (attacker: Attacker) => string, atATime = 4, path = '/v1/hosts'): Attack['begin'] {
  return async (attacker) => {
    const body = Buffer.from(make(attacker));
    return () => Promise.all(times(atATime, () => attacker.post(path, body)));
  };
}

const manyDomains = (count: number): unknown => ({
  devices: times(count, (index) => ({ bdf: `${index.toString(16).padStart(4, '0')}:00:00.0` })),
});

export const BODIES: readonly Attack[] = [
  {
    name: '4,096 PCI domains, four at once',
    tries: 'Hosts of 4,096 functions, each in a domain of its own with a unit of its own.',
    begin: bodies((attacker) => JSON.stringify(manyDomains(attacker.size(4096)))),
  },
  {
    name: '4 MiB of newlines as a topology',
    tries: 'A text of nothing but ends of lines, and one of nothing but one line.',
    begin: async (attacker) => {
      const text = (character: string, size: number): Buffer =>
        Buffer.from(JSON.stringify({ topology: { text: character.repeat(attacker.size(size)) } }));
      const [newlines, letters] = [text('\n', LARGEST / 2), text('a', 3 * MIB)];
      return () => Promise.all([newlines, letters, newlines, letters].map((body) => attacker.post('/v1/hosts', body)));
    },
  },
  {
    name: '3 MiB of lines of a topology',
    tries: '60,000 lines that are nearly right.',
    begin: async (attacker) => {
      const line = '/sys/kernel/iommu_groups/1/devices/0000:00:00';
      const text = `${line}\n`.repeat(attacker.size(65_000));
      const right = times(
        attacker.size(55_000),
        (index) => `/sys/kernel/iommu_groups/${index}/devices/0000:00:00.0\n`,
      ).join('');
      const made = [text, right].map((some) => Buffer.from(JSON.stringify({ topology: { text: some } })));
      return () => Promise.all(made.map((body) => attacker.post('/v1/hosts', body)));
    },
  },
  {
    name: 'deep JSON',
    tries: '4 MiB of opening brackets, and of objects in objects.',
    begin: async (attacker) => {
      const [brackets, objects] = [
        Buffer.from('['.repeat(attacker.size(LARGEST))),
        Buffer.from(`${'{"a":'.repeat(attacker.size(LARGEST / 6))}1${'}'.repeat(attacker.size(LARGEST / 6))}`),
      ];
      return () => Promise.all([brackets, objects, brackets, objects].map((body) => attacker.post('/v1/hosts', body)));
    },
  },
  {
    name: 'JSON of many wrong fields',
    tries: '350,000 fields that nobody knows; 400,000 calls that do not exist.',
    begin: async (attacker) => {
      const fields = times(attacker.size(350_000), (index) => `"x${index}":1`).join(',');
      const devices = times(attacker.size(400_000), () => '{"bdf":1}').join(',');
      const made = [`{${fields}}`, `{"devices":[${devices}]}`].map((text) => Buffer.from(text));
      return () => Promise.all(made.map((body) => attacker.post('/v1/hosts', body)));
    },
  },
  {
    name: 'small bodies just below the bound',
    tries: 'Bodies of 15 KiB, which the thread that serves HTTP reads itself, from 64 connections.',
    begin: async (attacker) => {
      const body = Buffer.from(JSON.stringify({ devices: times(1500, () => ({ a: 1 })) }).slice(0, 15 << 10));
      const calls = Buffer.from(JSON.stringify({ calls: times(700, () => ({ call: 'nothing' })) }));
      return () =>
        attacker.loops(64, (loop) => attacker.post('/v1/hosts', loop % 2 === 0 ? body : calls.subarray(0, 15 << 10)));
    },
  },
  {
    name: 'unfinished bodies of 200 MiB',
    tries: '12 bodies of 200 MiB without their last byte.',
    begin: async (attacker) => {
      const target = await attached(attacker);
      const path = batchPath(target);
      const piece = Buffer.alloc(MIB, ' ');
      const count = attacker.size(200);
      return async () => {
        await Promise.all(
          times(12, async () => {
            const socket = await open(attacker, path, JSON_TYPE, count * MIB + 1);
            for (let sent = 0; sent < count && attacker.going && !socket.destroyed; sent++) await send(socket, piece);
          }),
        );
        await setTimeout(500);
      };
    },
  },
  {
    name: 'unfinished bodies without a length',
    tries: '200 bodies that grow by 64 KiB a time, and do not end.',
    begin: async (attacker) => {
      const target = await attached(attacker);
      const sockets = await Promise.all(times(200, () => open(attacker, batchPath(target), JSON_TYPE, null)));
      const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(64 << 10, ' '), Buffer.from('\r\n')]);
      return async () => {
        await Promise.all(sockets.map((socket) => send(socket, chunk)));
        await setTimeout(10);
      };
    },
  },
  {
    name: 'slow bodies',
    tries: '1,000 bodies of which a byte comes now and then.',
    begin: async (attacker) => {
      const sockets = await Promise.all(
        times(attacker.size(1000), () => open(attacker, '/v1/hosts', JSON_TYPE, LARGEST)),
      );
      return async () => {
        for (const socket of sockets) if (!socket.destroyed) socket.write(' ');
        await setTimeout(200);
      };
    },
  },
  {
    name: 'batches of 60 MiB',
    tries: 'The largest bodies that are allowed, each wrong at its very end, and right ones.',
    begin: async (attacker) => {
      const target = await attached(attacker);
      const one = '{"op":"unmap","iova":0,"length":4096}';
      const many = times(attacker.size(1_500_000), () => one).join(',');
      const [wrong, right] = [`{"operations":[${many},{}]}`, `{"onError":"continue","operations":[${many}]}`].map(
        (text) => Buffer.from(text),
      );
      return async () => {
        await attacker.post(batchPath(target), wrong);
        await attacker.post(batchPath(target), right);
      };
    },
  },
  {
    name: 'lines, thousands of them and then silence',
    tries: '64 streams of lines: each sends 1,000 and then waits.',
    begin: async (attacker) => {
      const target = await attached(attacker, largeSpec(16n * GIB));
      await target.process.do(mmap(PAGE));
      let next = IOVA;
      const lines = (): string =>
        times(1000, () => {
          next += 2n * PAGE;
          return `{"op":"map","iova":"${hex(next)}","length":4096,"userVa":"${hex(VA)}"}\n`;
        }).join('');
      const sockets = await Promise.all(times(attacker.size(64), () => open(attacker, batchPath(target), LINES, null)));
      return async () => {
        for (const socket of sockets) {
          if (socket.destroyed) continue;
          const text = lines();
          socket.write(`${text.length.toString(16)}\r\n${text}\r\n`);
        }
        await setTimeout(1000);
      };
    },
  },
  {
    name: 'lines one by one',
    tries: 'A stream whose every line comes in a packet of its own, as fast as they are taken.',
    begin: async (attacker) => {
      const target = await attached(attacker);
      const sockets = await Promise.all(times(8, () => open(attacker, batchPath(target), LINES, null)));
      const line = '{"op":"unmap","iova":0,"length":4096}\n';
      const chunk = `${line.length.toString(16)}\r\n${line}\r\n`;
      for (const socket of sockets) socket.setNoDelay(true);
      return async () => {
        for (let count = 0; count < 200; count++) for (const socket of sockets) await send(socket, chunk);
      };
    },
  },
  {
    name: 'a poke of 3 MB in base64',
    tries: 'Few values, each of them large: four at a time.',
    begin: async (attacker) => {
      const target = await attached(attacker);
      await target.process.do(mmap(16n * BigInt(MIB)));
      const data = Buffer.alloc(attacker.size(3_000_000), 5).toString('base64');
      const body = Buffer.from(JSON.stringify({ calls: [{ call: 'poke', addr: hex(VA), data }] }));
      return () => Promise.all(times(4, () => attacker.post(`${target.process.path}/calls`, body)));
    },
  },
];
