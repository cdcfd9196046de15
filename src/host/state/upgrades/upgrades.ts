/** All steps that this version can take, the oldest first: the last one leads to this version's engine. */
import { FROM_6 } from './from-6.ts';
import type { Upgrade } from './upgrade.ts';

export const UPGRADES: readonly Upgrade[] = [FROM_6];
