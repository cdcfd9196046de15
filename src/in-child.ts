/** A service in a process of its own, for one whose Node is too old to run it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ChildWord } from './child.ts';
import type { Holdover, HoldoverOptions } from './index.ts';
import { nodeForService } from './own-node.ts';
import { threadFile } from './threads/thread-file.ts';

export async function startInChild(options: HoldoverOptions): Promise<Holdover> {
  const program = fileURLToPath(threadFile(import.meta.url, 'child'));
  const child = spawn(nodeForService(), [program, JSON.stringify(options)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit');
  const word = await Promise.race([heard(child), ended.then(() => notStarted())]);
  if ('failed' in word) {
    child.disconnect();
    throw new Error(word.failed);
  }
  const close = async (): Promise<void> => {
    if (child.connected) child.disconnect();
    await ended;
  };
  return { ...word, close, [Symbol.asyncDispose]: close };
}

async function heard(child: ChildProcess): Promise<ChildWord> {
  const [word] = (await once(child, 'message')) as [ChildWord];
  return word;
}

function notStarted(): never {
  throw new Error('the process of the service has ended before it could serve');
}
