/** What a process is and may. */
import { part } from '../types.ts';
import { call, may, need } from './row.ts';

export const PROCESS_CALLS = {
  fork: call(
    'fork(): a new process with the same open files and a copy of the memory.',
    'pid of the child',
    { name: may('string', 'Name of the child; that of the caller if absent.') },
    part(
      'Private pages are copied at once. ENOMEM where there is no memory for that, or all processes together would have more than about 2^20 descriptors, mappings and runs of pages.',
    ),
  ),
  setuid: call(
    'setresuid(uid, uid, uid); away from 0 all capabilities go.',
    '0',
    { uid: need('int', 'User.') },
    part('All three ids at once.'),
  ),
  setrlimit: call(
    'setrlimit(RLIMIT_MEMLOCK), soft and hard.',
    '0',
    { memlock: need('u64', 'Bytes.') },
    part('RLIMIT_MEMLOCK, both limits at once.'),
  ),
};
