/** The service's own log on standard output: JSON lines, or in development mode lines for people. Keys never appear in it. */
import { styleText } from 'node:util';
import { type Logger, pino } from 'pino';
import type { Config } from './config.ts';

/** What parts of the service need of a log; a pino logger has it. */
export interface Log {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

/** The message of the line that each request gets. */
export const REQUEST = 'request';

/** That of the line of what came and was no request. */
export const NO_REQUEST = 'no request';

/** The fields of the line of a request. */
export interface RequestFacts {
  reqId: string;
  /** That it is part of, where its client has named one. */
  traceId?: string | undefined;
  method: string;
  /** The path template of its route; null: no route takes it. */
  route: string | null;
  status: number;
  ms: number;
  tenant?: string | undefined;
  host?: string | undefined;
  /** The kind of problem that it was answered with, and the refusal of the simulated kernel. */
  problem?: string | undefined;
  errno?: string | undefined;
  where?: string | undefined;
  /** In development mode: the path without its query, and a sentence about what was refused. */
  path?: string;
  reason?: string | undefined;
}

/** The message of a line that says who has made or taken a key, a tenant or a quota. */
export const AUDIT = 'audit';

const REDACTED = ['authorization', 'headers.authorization', 'req.headers.authorization'];

/** How many bytes of lines are kept while they cannot be written; more are dropped. */
const MOST_UNWRITTEN = 1 << 20;
/** After how many milliseconds what a slow reader did not take is offered again, if no other line comes; and how often at the end. */
const OFFERED_AGAIN_MS = 100;
const OFFERED_AT_END = 3;

export async function createLog(config: Pick<Config, 'dev' | 'logLevel'>): Promise<Logger> {
  const options = { level: config.logLevel, redact: REDACTED };
  const toLine = config.dev && config.logLevel !== 'silent' ? await lineMaker() : undefined;
  const output = destination();
  if (toLine === undefined) return pino(options, output);
  return pino(options, { write: (entry) => output.write(toLine(JSON.parse(entry) as Entry)) });
}

/** Standard output. Nobody waits for who reads it slowly, or not at all. */
function destination(): ReturnType<typeof pino.destination> {
  let offers = 0;
  const output = pino.destination({
    dest: process.stdout.fd,
    sync: true,
    maxLength: MOST_UNWRITTEN,
    // It would put the thread to sleep, and with it everybody who is served.
    retryEAGAIN: () => offers-- > 0,
  });
  let isOffered = false;
  // The service goes on, and stops in order, when its log cannot be written (closed terminal, full disk).
  output.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EAGAIN' || isOffered) return;
    isOffered = true;
    setTimeout(() => {
      isOffered = false;
      output.write('');
    }, OFFERED_AGAIN_MS).unref();
  });
  process.once('exit', () => {
    offers = OFFERED_AT_END;
    output.write('');
  });
  return output;
}

interface Entry {
  level: number;
  time: number;
  msg?: string;
}

/** pino-pretty is a development dependency, so it may be missing. */
async function lineMaker(): Promise<((entry: Entry) => string) | undefined> {
  const pretty = await import('pino-pretty').catch(() => undefined);
  const format = pretty?.prettyFactory({
    colorize: false,
    singleLine: true,
    ignore: 'pid,hostname,reqId,time,level',
    customPrettifiers: { err: (error) => stackOf(error) },
    messageFormat: (entry) => `${start(entry as unknown as Entry)}${oneLine((entry as unknown as Entry).msg ?? '')}`,
  });
  if (format === undefined) return undefined;
  return (entry) =>
    entry.msg === REQUEST ? `${start(entry)}${requestLine(entry as Entry & RequestFacts)}\n` : format(entry);
}

const stackOf = (error: unknown): string => (error as Partial<Error>).stack ?? JSON.stringify(error);

/** The start of a line: time and level. `styleText` colours it only if standard output is a terminal. */
function start({ time, level }: Entry): string {
  const clock = styleText('dim', new Date(time).toTimeString().slice(0, 8));
  const { labels, values } = pino.levels;
  if (level === values.info || level === values.debug) return `${clock}  `;
  return `${clock}  ${styleText(level > values.warn! ? 'red' : 'yellow', String(labels[level]).toUpperCase())}  `;
}

/** The start of most paths, which is dimmed. */
const OF_HOST = /^\/v1\/hosts\/[^/]+/;

function requestLine({ method, path, status, ms, errno, where, reason }: RequestFacts): string {
  const color = status < 400 ? 'green' : status < 500 ? 'yellow' : 'red';
  const kernel = errno === undefined ? '' : `${styleText('bold', errno)} ${where}: `;
  const why = reason === undefined ? '' : `  ${kernel}${oneLine(reason)}`;
  const place = path?.replace(OF_HOST, (host) => styleText('dim', host));
  return `${method} ${place} ${styleText(color, String(status))} ${styleText('dim', `${ms} ms`)}${why}`;
}

/** Replaces control characters: a client may have sent line breaks, or sequences for terminals. */
const oneLine = (text: string): string => text.replaceAll(/\p{Cc}+/gu, ' ');
