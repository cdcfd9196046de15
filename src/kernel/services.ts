/**
 * What a kernel offers to its parts. Each room names what it needs beyond this in an interface of its own (`IommuKernel`,
 * `IommufdKernel`, `VfioKernel`, `LiveUpdateKernel`); the class `Kernel` is all of them, and only those who boot, ask or
 * end a whole kernel know it.
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
