/**
 * Looks at a host from all sides: whatever is counted is counted again from those who are counted, and whatever is kept
 * twice is compared. A healthy host has no findings; one tells of a fault in the simulation, not of its users.
 *
 * It reads, and changes nothing that can be seen. Where no kernel runs only the frames of memory are looked at: who held
 * them is gone.
 */
import { Ioas } from '../../kernel/iommufd/ioas.ts';
import type { Host } from '../host.ts';
import { checkAddressSpaces } from './address-spaces.ts';
import { checkAreas } from './areas.ts';
import { Census } from './census.ts';
import { checkFiles } from './files.ts';
import { type Finding, Findings, sentenceOf } from './finding.ts';
import { checkMemory, checkOwners, checkPins } from './frames.ts';
import { checkGroups } from './groups.ts';
import { Ledger } from './ledger.ts';
import { checkMappings } from './mappings.ts';
import { checkObjects } from './objects.ts';
import { checkPages } from './pages.ts';
import { checkRestored } from './restored.ts';
import { checkSessions } from './sessions.ts';

export { type Finding, sentenceOf } from './finding.ts';

/** Yields findings, and null where there may be a pause, in which the host must not change. */
export function* findings(host: Host): Generator<Finding | null, void> {
  const found = new Findings();
  const { memory } = host.machine;
  checkMemory(memory, found);
  if (host.kernel) {
    const census = new Census(host.kernel);
    checkFiles(census, found);
    checkAddressSpaces(census, found);
    checkObjects(census, found);
    checkGroups(census, found);
    checkSessions(census, found);
    yield* found.take();
    const ledger = new Ledger();
    for (const context of census.contexts)
      for (const ioas of context.objects.visible()) {
        if (!(ioas instanceof Ioas)) continue;
        const where = census.nameOfObject(context, ioas);
        for (const step of [checkAreas(ioas.iopt, where, found), checkMappings(ioas.iopt, where, ledger, found)])
          for (const _ of step) {
            yield* found.take();
            yield null;
          }
      }
    checkPages(census, ledger, found);
    checkRestored(census, ledger, found);
    yield* found.take();
    yield null;
    checkOwners(census, found);
    checkPins(memory, ledger, found);
  }
  yield* found.take();
}

/** A host that is not as it must be: the message names what is wrong. */
class InvariantBroken extends Error {
  override readonly name = 'InvariantBroken';
}

/** So many findings are told of a host. */
const MOST_TOLD = 10;

/** Throws InvariantBroken where there is a finding. */
export function mustHold(host: Host): void {
  const told: string[] = [];
  for (const finding of findings(host)) if (finding && told.push(sentenceOf(finding)) === MOST_TOLD) break;
  if (told.length > 0) throw new InvariantBroken(told.join('; '));
}
