/** What the events of a host say about the state of each of its devices. */
import type { DeviceView, HostEvent } from '../host/views.ts';

/**
 * Where a device stands: a letter of the live update, and who has its DMA. `?`: no event has told; `-`: the function is not
 * there.
 */
export interface DeviceState {
  readonly letter: DeviceView['state'] | '?' | '-';
  readonly owner: 'kernel' | 'program' | null;
  readonly driver: string | null;
  /** The domain that it came with, in states A, S and X. */
  readonly restored: number | null;
}

export const NOBODY: DeviceState = { letter: 'N', owner: null, driver: null, restored: null };
export const UNKNOWN: DeviceState = { letter: '?', owner: null, driver: null, restored: null };
const ABSENT: DeviceState = { letter: '-', owner: null, driver: null, restored: null };

/** Drivers that leave the DMA of a function to others. */
const LEAVES_DMA = /(^|[-_])vfio[-_]pci$|^(pci-stub|pcieport)$/;

const ownerBy = (driver: string | null): DeviceState['owner'] =>
  driver === null || LEAVES_DMA.test(driver) ? null : 'kernel';

/** As the service tells it now. */
export function stateNow({ state, owner, driver, domain }: DeviceView): DeviceState {
  const whose = owner === 'luo' ? null : owner === 'iommufd' ? 'program' : owner;
  return { letter: state, owner: whose, driver, restored: domain.restored ? domain.id : null };
}

/** The state behind an event about the device. */
export function stateAfter(state: DeviceState, { kind, data }: HostEvent): DeviceState {
  switch (kind) {
    case 'pci.add':
      return NOBODY;
    case 'pci.remove':
      return ABSENT;
    case 'driver.bind': {
      const driver = String(data.driver);
      return state.letter === 'N' ? { ...state, driver, owner: ownerBy(driver) } : { ...state, driver };
    }
    case 'driver.unbind':
      return state.letter === 'N' ? NOBODY : { ...state, driver: null };
    case 'vfio.bind':
      return state.letter === 'N' || state.letter === '?' ? { ...state, letter: 'N', owner: 'program' } : state;
    case 'restore.device':
      return { ...NOBODY, letter: 'L', restored: Number(data.id) };
    case 'restore.adopted':
      return { ...state, letter: 'A', owner: 'program', restored: Number(data.id) };
    case 'restore.swapped':
      return { ...state, letter: 'S', owner: 'program' };
    case 'iommu.attach':
      return attached(state, String(data.domain), data.id as number | null);
    default:
      return state;
  }
}

/** The state behind a move to another domain. */
function attached(state: DeviceState, domain: string, id: number | null): DeviceState {
  const { letter, driver, restored } = state;
  const isDefault = domain === 'default' || domain === 'identity';
  if (isDefault) return { ...NOBODY, driver, owner: ownerBy(driver) };
  if (letter === 'A' || letter === 'S' || letter === 'X') {
    if (domain === 'blocked') return { ...state, letter: 'X' };
    return { ...state, letter: id !== null && id === restored ? 'A' : 'S' };
  }
  return letter === 'L' ? state : { ...state, letter: 'N', owner: 'program' };
}

/** What an event says about the state before it, where none had told. */
export function stateBefore({ kind, data }: HostEvent): DeviceState {
  switch (kind) {
    case 'restore.adopted':
      return { ...UNKNOWN, letter: 'L' };
    case 'pci.add':
      return ABSENT;
    case 'driver.unbind':
      return { ...NOBODY, driver: String(data.driver), owner: ownerBy(String(data.driver)) };
    case 'iommu.attach':
      return data.from === 'default' || data.from === 'identity' ? NOBODY : UNKNOWN;
    default:
      return UNKNOWN;
  }
}

const WORDS: Readonly<Record<string, string>> = {
  L: 'luo mode: on the domain of the kernel before',
  A: 'adopted: bound, on its restored domain',
  S: 'swapped: bound, on another HWPT',
  X: 'bound, and blocked',
  '?': 'not known: it began before the oldest event here',
  '-': 'not plugged in',
};

/** A state in a few words. */
export function wordsOf({ letter, owner, driver }: DeviceState): string {
  if (letter !== 'N') return WORDS[letter]!;
  if (owner === 'program') return 'a program has it';
  if (owner === 'kernel') return `its driver has it${driver === null ? '' : `: ${driver}`}`;
  return driver === null ? 'no driver' : `nobody has it; driver: ${driver}`;
}

const SHORT: Readonly<Record<string, string>> = {
  L: 'luo mode',
  A: 'adopted',
  S: 'swapped',
  X: 'blocked',
  '?': 'not known',
  '-': 'not there',
};

/** The same where there is little room. */
export function shortWordsOf({ letter, owner, driver }: DeviceState): string {
  return SHORT[letter] ?? (owner === 'program' ? 'program' : (driver ?? 'no driver'));
}

/** Which driver there is says nothing more where the letter or the owner does. */
export const isSameState = (one: DeviceState, other: DeviceState): boolean =>
  one.letter === other.letter &&
  one.owner === other.owner &&
  (one.driver === other.driver || one.letter !== 'N' || one.owner === 'program');
