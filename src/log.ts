/** The service's own log: structured lines on standard output. Keys never appear in it. */
import { type DestinationStream, type Logger, pino } from 'pino';
import type { Config } from './config.ts';

/** What parts that log need; a pino logger has it. */
export interface Log {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

const REDACTED = ['authorization', 'headers.authorization', 'req.headers.authorization'];

/** JSON lines; in development mode, on a terminal, lines for people. */
export async function createLog(config: Pick<Config, 'dev' | 'logLevel'>): Promise<Logger> {
  const options = { level: config.logLevel, redact: REDACTED };
  const pretty = config.dev && process.stdout.isTTY ? await prettyStream() : undefined;
  return pretty === undefined ? pino(options) : pino(options, pretty);
}

/** pino-pretty is a development dependency, so it may be missing. */
async function prettyStream(): Promise<DestinationStream | undefined> {
  try {
    const { default: pretty } = await import('pino-pretty');
    return pretty({ colorize: true, ignore: 'pid,hostname', sync: true });
  } catch {
    return undefined;
  }
}
