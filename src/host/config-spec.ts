/** Reads what the configuration space of a function is made from. */
import { hex } from '../machine/address.ts';
import { defaultConfig } from '../machine/pci/default-config.ts';
import type { BarSpec, CapabilitySpec, ConfigSpec, ExtendedCapabilitySpec, FunctionSpec } from '../machine/spec.ts';
import { type Problem, readHex16, readU64, type U64 } from './request-values.ts';

export interface BarRequest {
  index: number;
  kind: BarSpec['kind'];
  prefetchable?: boolean;
  address?: U64;
  size: U64;
}

/** The description of a configuration space. Defaults: what functions of its class have. */
export interface ConfigRequest {
  size?: number;
  progIf?: number;
  revision?: number;
  subsystemVendor?: string;
  subsystemDevice?: string;
  interruptPin?: number;
  bars?: BarRequest[];
  capabilities?: CapabilitySpec[];
  extendedCapabilities?: ExtendedCapabilitySpec[];
  image?: string;
}

export function readConfig(
  request: ConfigRequest,
  of: Partial<FunctionSpec>,
  pointer: string,
  errors: Problem[],
): ConfigSpec {
  const { bars, subsystemVendor, subsystemDevice, ...rest } = request;
  const config: ConfigSpec = { ...defaultConfig(of), ...rest };
  const id = (value: string, field: string): string => readHex16(value, `${pointer}/${field}`, errors) ?? '0000';
  if (subsystemVendor !== undefined) config.subsystemVendor = id(subsystemVendor, 'subsystemVendor');
  if (subsystemDevice !== undefined) config.subsystemDevice = id(subsystemDevice, 'subsystemDevice');
  if (bars) config.bars = bars.map((bar, index) => readBar(bar, `${pointer}/bars/${index}`, errors));
  return config;
}

function readBar(
  { index, kind, prefetchable = false, address = 0, size }: BarRequest,
  pointer: string,
  errors: Problem[],
): BarSpec {
  return {
    index,
    kind,
    prefetchable,
    address: hex(readU64(address, `${pointer}/address`, errors) ?? 0n),
    size: hex(readU64(size, `${pointer}/size`, errors) ?? 0n),
  };
}
