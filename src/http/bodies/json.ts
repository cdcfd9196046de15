/** Reads bodies of JSON: which codings of bytes and characters are understood, and what is wrong with a body. */
import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import secureJson from 'secure-json-parse';
import { Problem } from '../problems.ts';

const CHARSET = /;\s*charset\s*=\s*"?([^\s";]*)/i;
/** JSON is UTF-8 (RFC 8259, 8.1), of which ASCII is a part. */
const CHARSETS = ['utf-8', 'utf8', 'us-ascii'];

/** Throws 415 for bodies that are compressed, or not in UTF-8; `types`: which media types the route takes. */
export function checkCodings(headers: IncomingHttpHeaders, types: string): void {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = headers;
  const charset = CHARSET.exec(type)?.[1];
  if (charset !== undefined && !CHARSETS.includes(charset.toLowerCase()))
    throw new Problem('unsupported-media-type', `Bodies are read as UTF-8: send ${types} without another charset.`);
  if (encoding.split(',').some((one) => one.trim().toLowerCase() !== 'identity'))
    throw new Problem('unsupported-media-type', 'Send the body as it is, without a Content-Encoding.', {
      headers: { 'accept-encoding': 'identity' },
    });
}

/** Throws where bytes are not UTF-8. */
export function checkUtf8(bytes: Uint8Array): void {
  if (!isUtf8(bytes)) throw new Problem('malformed-body', 'The body is not in UTF-8, which JSON has to be in.');
}

/** About as many as fit into a body of the usual size. */
const MOST_VALUES = 2 ** 21;
const [COMMA, BRACKET, BRACE] = Buffer.from(',[{');

/** Throws where a body is not large because of long texts, but of very many values, which take long to read. */
export function checkValues(bytes: Uint8Array): void {
  let values = 0;
  for (const byte of bytes) if (byte === COMMA || byte === BRACKET || byte === BRACE) values++;
  if (values > MOST_VALUES)
    throw new Problem('body-too-large', `The body has more than ${MOST_VALUES} values: no file of a host has so many.`);
}

/** The value of a body of JSON; a body of no bytes is none. */
export function parseBody(bytes: Uint8Array): unknown {
  if (bytes.length === 0) return undefined;
  checkUtf8(bytes);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  try {
    return secureJson.parse(text, { protoAction: 'error', constructorAction: 'error' });
  } catch {
    throw malformed(text);
  }
}

/** Why a body is not JSON. The parser's message may show a piece of the body: its sender knows that anyway. */
function malformed(body: string): Problem {
  let detail = 'The body has a field that is not allowed in JSON here: __proto__ or constructor.prototype.';
  try {
    JSON.parse(body);
  } catch (error) {
    detail = `The body is not JSON: ${(error as SyntaxError).message}.`;
  }
  return new Problem('malformed-body', detail);
}
