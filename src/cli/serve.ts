/** `holdover serve`: the service, as it is configured by the environment. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { isNewEnough, nodeForService } from '../own-node.ts';
import { EXIT, Failure } from './client.ts';
import { acting, type Family, wholeNumber } from './options.ts';

/** Its entry, as it lies in the sources or as packed. */
const MAIN = new URL(import.meta.url.endsWith('.ts') ? '../main.ts' : './main.cjs', import.meta.url);

interface ServeOptions {
  dev?: true;
  port?: number;
  dataDir?: string;
}

export const addServe: Family = (program) => {
  program
    .command('serve')
    .description('start the service; HOLDOVER_… variables configure it (docs/configuration.md)')
    .option('--dev', 'development mode: this machine only, with the key dev-key')
    .option('--port <port>', 'HOLDOVER_PORT; 0: any that is free', wholeNumber)
    .option('--data-dir <directory>', 'HOLDOVER_DATA_DIR')
    .action(
      acting<ServeOptions>(async ({ options }) => {
        const { dev, port, dataDir } = options;
        if (port !== undefined) process.env.HOLDOVER_PORT = String(port);
        if (dataDir !== undefined) process.env.HOLDOVER_DATA_DIR = dataDir;
        const args = [fileURLToPath(MAIN), ...(dev ? ['--dev'] : [])];
        if (!isNewEnough()) return await runOther(args);
        process.argv.splice(1, process.argv.length, ...args);
        await import(MAIN.href);
      }),
    );
};

/** With the Node that the package brings; it ends as that does. */
async function runOther(args: string[]): Promise<void> {
  let node: string;
  try {
    node = nodeForService();
  } catch (error) {
    throw new Failure(EXIT.refused, (error as Error).message);
  }
  const child = spawn(node, args, { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  const [code] = (await once(child, 'exit')) as [number | null];
  process.exitCode = code ?? EXIT.refused;
}
