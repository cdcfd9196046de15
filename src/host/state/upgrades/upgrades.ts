/** All steps that this version can take, the oldest first: the last one leads to this version's engine. */
import { FROM_0FF38 } from './from-0ff38.ts';
import { FROM_5FF74 } from './from-5ff74.ts';
import { FROM_6 } from './from-6.ts';
import { FROM_9E86E } from './from-9e86e.ts';
import { FROM_6726B } from './from-6726b.ts';
import { FROM_C24D4 } from './from-c24d4.ts';
import type { Upgrade } from './upgrade.ts';

export const UPGRADES: readonly Upgrade[] = [FROM_6, FROM_0FF38, FROM_9E86E, FROM_C24D4, FROM_5FF74, FROM_6726B];
