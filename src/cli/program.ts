/** The command `holdover`: its families of commands, and how it ends. */
import { Command, CommanderError } from 'commander';
import manifest from '../../package.json' with { type: 'json' };
import { printable } from '../timeline/text.ts';
import { addCapture } from './capture.ts';
import { EXIT, Failure, Refused } from './client.ts';
import { addCompletion } from './completion.ts';
import { addDoctor } from './doctor.ts';
import { addEvents } from './events.ts';
import { addHosts } from './hosts.ts';
import { addLiveUpdate } from './live-update.ts';
import { addGlobals, type Family } from './options.ts';
import { addReplay } from './replay.ts';
import { addReport } from './report.ts';
import { addRun } from './run.ts';
import { addServe } from './serve.ts';
import { addTenants } from './tenants.ts';
import { note, styled } from './terminal.ts';

/** In the order of the help. */
const FAMILIES: readonly Family[] = [
  addServe,
  addRun,
  addHosts,
  addLiveUpdate,
  addEvents,
  addReport,
  addCapture,
  addReplay,
  addTenants,
  addDoctor,
  addCompletion,
];

const AFTER_HELP = `
Exit codes: 0 done, 1 refused or not as it has to be, 2 not understood, 3 no service answers.`;

/** Carries out what the arguments say. What goes wrong is told on standard error, and by the exit code. */
export async function runProgram(args: readonly string[]): Promise<void> {
  const program = new Command('holdover')
    .description(manifest.description)
    .version(manifest.version)
    .exitOverride()
    .addHelpText('after', AFTER_HELP);
  addGlobals(program);
  for (const add of FAMILIES) add(program);
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage;
    else if (error instanceof Failure) {
      process.exitCode = error.exitCode;
      if (error instanceof Refused && args.includes('--json')) note(JSON.stringify(error.problem));
      else note(`${styled('red', 'holdover:', 2)} ${printable(error.message)}`);
    } else throw error;
  }
}
