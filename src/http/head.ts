/** Checks the head of a request, before anybody looks at what it asks for: what Node lets through, or would refuse without a word. */
import type { FastifyRequest } from 'fastify';
import { MAX_URL } from '../limits.ts';
import { Problem } from './problems.ts';

/** A name or an address, and perhaps a port (RFC 9110, 7.2). */
const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+,;=%-]*)(?::\d{0,5})?$/i;
/** What may be called the machine itself, in lower case. */
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** Throws a problem. `dev`: the service answers only those who call it by an address of the machine itself. */
export function checkHead({ raw }: FastifyRequest, dev: boolean): void {
  const { url = '', headers, rawHeaders, httpVersionMinor } = raw;
  if (url.length > MAX_URL) throw new Problem('path-too-long', `The URL may have ${MAX_URL} bytes at most.`);
  const { host, expect, 'transfer-encoding': coding } = headers;
  if (host === undefined && httpVersionMinor > 0) throw badHost('it is missing');
  if (host !== undefined && !HOST.test(host)) throw badHost('expected a name or an address, and perhaps a port');
  if (isTwice(rawHeaders, 'host')) throw badHost('it is there twice');
  if (expect !== undefined && httpVersionMinor > 0 && expect.toLowerCase() !== '100-continue')
    throw new Problem('expectation-failed', 'The only header Expect that is understood is `100-continue`.');
  if (coding !== undefined && coding.toLowerCase() !== 'chunked')
    throw new Problem('unknown-coding', 'Send the body as it is: the only Transfer-Encoding is chunked.');
  if (dev) checkOwnHost(host, raw.socket.localPort);
}

const badHost = (why: string): Problem => new Problem('invalid-request', `header Host: ${why}`);

/** Whether a request has that header, in lower case, more than once. */
export function isTwice(rawHeaders: readonly string[], name: string): boolean {
  let count = 0;
  for (let at = 0; at < rawHeaders.length; at += 2)
    if (rawHeaders[at]!.length === name.length && rawHeaders[at]!.toLowerCase() === name) count++;
  return count > 1;
}

/**
 * A page of any site can have its own name lead to this machine (DNS rebinding), and then ask in the name of whoever looks at
 * it. The browser says by which name.
 */
function checkOwnHost(host: string | undefined, port: number | undefined): void {
  const [, name = '', given = '80'] = /^(.*?)(?::(\d*))?$/.exec(host?.toLowerCase() ?? '') ?? [];
  if (LOOPBACK.test(name) && Number(given || '80') === port) return;
  const detail = `In development mode only those are answered who call the service localhost:${port}, 127.0.0.1:${port} or [::1]:${port}: use one of these, or start it without --dev.`;
  throw new Problem('wrong-host', detail);
}
