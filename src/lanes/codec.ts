/** How commands stand in the journal: as they are, except that a boot names the handover instead of repeating it. */
import type { BatchCommand, Command, RestoreCommand } from '../host/command.ts';

interface StoredBoot {
  op: 'kexec.boot';
  /** Sequence of the freeze that left the handover. */
  freeze: number;
}

type Stored = Exclude<Command, { op: 'kexec.boot' }> | StoredBoot | BatchCommand | RestoreCommand;

/** `freeze` is the sequence of the freeze before a boot. */
export function encodeCommand(command: Command | BatchCommand | RestoreCommand, freeze: number | null): string {
  if (command.op !== 'kexec.boot') return JSON.stringify(command satisfies Stored);
  if (freeze === null) throw new Error('a boot without a freeze before it');
  return JSON.stringify({ op: 'kexec.boot', freeze } satisfies StoredBoot);
}

/** `handover` reads what the freeze of a sequence left. */
export async function decodeCommand(
  text: string,
  handover: (freeze: number) => Promise<string | null>,
): Promise<Command | BatchCommand | RestoreCommand> {
  const stored = JSON.parse(text) as Stored;
  return stored.op === 'kexec.boot' ? { op: 'kexec.boot', handover: await handover(stored.freeze) } : stored;
}
