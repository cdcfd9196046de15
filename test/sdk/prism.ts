/** Prism between a client and the service: it holds requests and answers to the OpenAPI document. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { TestContext } from 'node:test';
import type { Random } from '../crash/random.ts';
import { Guess } from '../fuzz/guess.ts';
import { Requests } from '../fuzz/requests.ts';
import type { Sent } from '../fuzz/wire.ts';
import { DOCUMENT, PRISM } from './generate.ts';

const OWN = 'https://stoplight.io/prism/errors#';
/** What Prism answers itself where a request is not as the document says. Of answers it says `VIOLATIONS`. */
const OF_REQUESTS = [`${OWN}UNPROCESSABLE_ENTITY`, `${OWN}UNAUTHORIZED`];

/** Returns its address. */
export async function startPrism(t: TestContext, upstream: string): Promise<string> {
  const port = await freePort();
  const args = [PRISM, 'proxy', DOCUMENT, upstream, '--errors', '--port', String(port)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'close');
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  while (!output.includes('Prism is listening')) {
    await Promise.race([once(child.stdout, 'data'), exited]);
    if (child.exitCode !== null) throw new Error(`Prism has ended: ${output}`);
  }
  // What it logs from now on, nobody reads.
  child.stdout.removeAllListeners('data').resume();
  return `http://127.0.0.1:${port}`;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

export interface Place {
  prism: string;
  service: string;
  key: string;
  adminKey: string;
}

/** So many requests go to one host. */
const LIFE = 250;

/**
 * Sends requests through Prism. Returns what does not agree: answers that are not as documented, and requests that the service
 * takes although the document does not allow them.
 */
export async function violations(random: Random, count: number, place: Place): Promise<string[]> {
  const { prism, service, key, adminKey } = place;
  const guess = new Guess(random);
  const maker = new Requests(random, guess, key, adminKey, new URL(service).host);
  const found: string[] = [];
  for (let done = 0, age = LIFE; done < count; done += 1, age += 1) {
    if (age >= LIFE) {
      guess.moveTo(await newHost(service, key));
      age = 0;
    }
    const { sent, operation } = maker.next(['body', 'query']);
    // Prism does not read lines.
    if (sent.headers.some(([name, value]) => name === 'content-type' && value !== 'application/json')) continue;
    const answer = await ask(prism, sent);
    const text = await answer.text();
    const type = answer.headers.get('content-type') ?? '';
    if (text.includes(OWN)) {
      const told = JSON.parse(text) as { type: string };
      const refused = OF_REQUESTS.includes(told.type) && (await ask(service, sent)).status >= 400;
      if (!refused) found.push(`${operation.operationId}: ${sent.method} ${sent.target} ${sent.body ?? ''}: ${text}`);
    } else if (answer.ok && type.startsWith('application/json')) guess.learn(text);
    if (operation.operationId === 'deleteHost' && answer.ok) age = LIFE;
  }
  return found;
}

async function newHost(service: string, key: string): Promise<string> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const post = async (path: string, body: string) =>
    (await fetch(`${service}/v1/hosts${path}`, { method: 'POST', headers, body })).json();
  const { id } = (await post('', '{"preset":"vmm-lab"}')) as { id: string };
  for (const path of ['/processes', '/processes', '/processes/1/iommufds', '/processes/1/iommufds/0/ioases'])
    await post(`/${id}${path}`, '{}');
  return id;
}

function ask(base: string, { method, target, headers, body }: Sent): Promise<Response> {
  const given = headers.filter(([name]) => name !== 'host' && name !== 'content-length');
  return fetch(base + target, { method, headers: given, ...(body && { body: new Uint8Array(body) }) });
}
