/** The key with which a service signs the files of hosts, so that it knows its own. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from './log.ts';

const NAME = 'file.key';
const KEY_BYTES = 32;
const KEY = /^[0-9a-f]{64}$/;

/** That of a data directory, which is made there at the first start; where it cannot be kept, it is one of this process. */
export function fileKeyOf(directory: string, log: Log): string {
  const path = join(directory, NAME);
  try {
    const key = readFileSync(path, 'utf8').trim();
    if (KEY.test(key)) return key;
    log.warn({ path }, 'there is no key in it: files of hosts that were made before are not taken any more');
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT')
      log.warn(
        { path, err: error },
        'the key of files of hosts cannot be read: those that were made before are not taken',
      );
  }
  const key = randomBytes(KEY_BYTES).toString('hex');
  try {
    writeFileSync(path, `${key}\n`, { mode: 0o600 });
  } catch (error) {
    log.warn(
      { path, err: error },
      'the key of files of hosts cannot be kept: those made now are not taken after the next start',
    );
  }
  return key;
}
