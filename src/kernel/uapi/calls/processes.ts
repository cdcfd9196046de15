/** What a process is and may. */
import { part } from '../types.ts';
import { call, need } from './row.ts';

export const PROCESS_CALLS = {
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
