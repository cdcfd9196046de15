/** All attacks. */
import type { Attack } from '../attack.ts';
import { BODIES } from './bodies.ts';
import { CALLS } from './calls.ts';
import { CONNECTIONS } from './connections.ts';
import { GROWTH } from './growth.ts';
import { HOSTS } from './hosts.ts';
import { LOOKS } from './looks.ts';

/** What the quiet tenant notices of the machine alone. */
const NOBODY: Attack = {
  name: 'nobody',
  tries: 'Nothing: what the quiet tenant notices here is what this machine does by itself.',
  begin: async () => () => new Promise((resolve) => setTimeout(resolve, 100)),
};

export const ATTACKS: readonly Attack[] = [NOBODY, ...CALLS, ...GROWTH, ...LOOKS, ...HOSTS, ...BODIES, ...CONNECTIONS];
