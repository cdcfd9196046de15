/** What lanes answer instead of a host. */
import type { Answer, Command } from '../host/command.ts';
import type { Divergence } from '../store/store.ts';
import { HostChanged, HostDamaged } from './errors.ts';
import type { Expected } from './lanes.ts';
import type { LoadedHost } from './replay.ts';

export const NO_HOST: Answer = { kind: 'not-found', what: 'host' };

export const isServiceDeath = (command: Command): boolean =>
  command.op === 'fault.arm' && command.point === 'service.death';

export function serviceDeathRefusal(): Answer {
  const why =
    'service.death kills the whole service, so it may be armed only where HOLDOVER_ALLOW_SERVICE_DEATH=1 is set';
  return { kind: 'refused', errno: 'EPERM', where: 'fault.arm', why };
}

/** Why a host takes no commands; null: it does. Throws HostDamaged. */
export function refusalOf({ damage, unreadable, diverged }: LoadedHost): Answer | null {
  if (damage !== null) throw new HostDamaged(damage.what);
  if (unreadable !== null) return unreadable;
  return diverged === null ? null : divergedRefusal(diverged);
}

/** Throws HostChanged. It is asked in the turn of a command, so that of two who have seen the same host one comes too late. */
export function checkExpected({ sequence }: LoadedHost, expected: Expected | undefined): void {
  if (expected !== undefined && !expected.includes(sequence)) throw new HostChanged(sequence);
}

function divergedRefusal({ sequence, op, why }: Divergence): Answer {
  const sentence =
    `this host cannot go on: at command ${sequence} (${op}) of its journal, ${why}; ` +
    'it can still be read as it was before that command, and deleted';
  return { kind: 'refused', errno: 'EIO', where: 'replay', why: sentence };
}
