/** What the configuration space of a function holds where nobody says: what functions of its class have. */
import type { ConfigSpec, FunctionSpec } from '../spec.ts';

export function defaultConfig(_spec: Partial<FunctionSpec>): ConfigSpec {
  return {
    size: 4096,
    progIf: 0,
    revision: 0,
    subsystemVendor: '0000',
    subsystemDevice: '0000',
    interruptPin: 0,
    bars: [],
    capabilities: [],
    extendedCapabilities: [],
  };
}
