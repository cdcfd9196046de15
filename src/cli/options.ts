/** What all commands take, and how they are given to them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { Client, EXIT, Failure } from './client.ts';

export interface Globals {
  url: string;
  key: string;
  json: boolean;
}

export function addGlobals(program: Command): void {
  program
    .addOption(new Option('--url <url>', 'where the service is').env('HOLDOVER_URL').default('http://127.0.0.1:8080'))
    .addOption(new Option('--key <key>', 'who asks').env('HOLDOVER_KEY').default('dev-key'))
    .option('--json', 'answers as JSON', false);
}

/** A family of commands adds itself to the program. */
export type Family = (program: Command) => void;

/** What a command does, with the options of its own and those that all have. */
export function acting<Options>(
  run: (given: { client: Client; options: Options & Globals; args: string[] }) => Promise<void>,
): (...parameters: unknown[]) => Promise<void> {
  return async (...parameters) => {
    const command = parameters.at(-1) as Command;
    const options = command.optsWithGlobals<Options & Globals>();
    await run({ client: new Client(options), options, args: command.args });
  };
}

/** For options and arguments that are numbers. */
export function wholeNumber(value: string): number {
  if (!/^\d{1,15}$/.test(value)) throw new InvalidArgumentError('It has to be a whole number.');
  return Number(value);
}

/** The text of a file, or of standard input for `-`. */
export async function textOf(file: string): Promise<string> {
  try {
    return file === '-' ? await text(process.stdin) : readFileSync(file, 'utf8');
  } catch (error) {
    throw new Failure(EXIT.usage, `${file} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
}

/** The same, which has to be JSON. */
export async function jsonOf(file: string): Promise<unknown> {
  const read = await textOf(file);
  try {
    return JSON.parse(read);
  } catch (error) {
    throw new Failure(EXIT.usage, `${file} is no JSON: ${(error as Error).message}.`);
  }
}

export function writeTo(file: string, bytes: Uint8Array | string): void {
  try {
    writeFileSync(file, bytes);
  } catch (error) {
    throw new Failure(EXIT.usage, `${file} cannot be written (${(error as NodeJS.ErrnoException).code}).`);
  }
}
