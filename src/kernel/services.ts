/**
 * What every part of a kernel may use. Rooms name what they need beyond this in interfaces of their own (`IommuKernel`,
 * `IommufdKernel`, `VfioKernel`, `LiveUpdateKernel`). The class `Kernel` implements all of them; only code that boots,
 * queries or ends a whole kernel imports it.
 */
import type { Machine } from '../machine/machine.ts';
import type { EventSink } from './events.ts';
import type { Faults } from './faults.ts';
import type { BootOptions, Policies, Profile } from './policies.ts';

export interface KernelServices {
  readonly machine: Machine;
  readonly profile: Profile;
  readonly policies: Policies;
  readonly boot: BootOptions;
  readonly faults: Faults;
  readonly emit: EventSink['emit'];
}
