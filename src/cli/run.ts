/** `holdover run`: runs scenario files, against the service that is named, or one of its own where none answers. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { isNewEnough, nodeForService } from '../own-node.ts';
import { type Client, EXIT, Failure } from './client.ts';
import { acting, type Family, type Globals, wholeNumber } from './options.ts';
import { say } from './terminal.ts';

interface RunCommandOptions {
  parallel?: number;
  junit?: string;
  html?: string;
}

export const addRun: Family = (program) => {
  program
    .command('run')
    .argument('<file...>', 'files, or directories of them')
    .description('run scenario files; where no service answers, one is started for them')
    .option('--parallel <number>', 'so many at a time', wholeNumber)
    .option('--junit <file>', 'write a report for continuous integration')
    .option('--html <file>', 'write a report for people')
    .action(
      acting<RunCommandOptions>(async ({ client, options, args }) => {
        if (!isNewEnough()) return await runInOwnNode();
        const { parallel, junit, html, json } = options;
        const { runScenarios } = await import('../scenarios/run.ts');
        const { url, key, close } = await serviceFor(client, options);
        try {
          const write = json ? undefined : (text: string): void => void process.stdout.write(text);
          const summary = await runScenarios(args, { url, key, parallel, junit, html, write });
          if (json) say(JSON.stringify(summary, null, 2));
          if (summary.failed > 0) process.exitCode = EXIT.refused;
        } catch (error) {
          throw error instanceof Failure ? error : new Failure(EXIT.usage, (error as Error).message);
        } finally {
          await close();
        }
      }),
    );
};

interface Service {
  url: string;
  key: string;
  close(): Promise<void>;
}

/** That of the options. One that nobody has named, and that does not answer, is started. */
export async function serviceFor(client: Client, { url, key }: Globals): Promise<Service> {
  try {
    await client.ask('GET', '/livez');
    return { url, key, close: async () => {} };
  } catch (error) {
    const isNowhere = error instanceof Failure && error.exitCode === EXIT.unreachable;
    if (!isNowhere || process.env.HOLDOVER_URL) throw error;
    return await (await import('../index.ts')).startHoldover();
  }
}

/** What runs scenarios needs the Node that the package brings. */
async function runInOwnNode(): Promise<void> {
  const child = spawn(nodeForService(), process.argv.slice(1), { stdio: 'inherit' });
  const [code] = (await once(child, 'exit')) as [number | null];
  process.exitCode = code ?? EXIT.refused;
}
