/** From the header of a trace to the body of `POST /v1/hosts`, and to functions that are plugged in later. */
import type { Geometry, Header, Json, JsonObject, TracedDevice } from './trace.ts';

/** Nothing in a trace depends on it, as long as the largest mapping fits; memory costs nothing until it is touched. */
const MEMORY = '0x10000000000';

/** Bit 3 of the capabilities of GET_HW_INFO: no ATS. */
const NO_ATS = 8n;

/** The unit that functions are plugged in behind. */
const UNIT = 'iommu0';

export function hostBody(header: Header): { [key: string]: Json } {
  const { trace, suite, geometry, devices } = header;
  const ats = hasAts(geometry);
  return {
    name: trace,
    profile: 'linux-7.3',
    memory: MEMORY,
    iommus: [
      {
        id: UNIT,
        kind: suite.startsWith('vfio') ? 'intel-vtd' : 'generic',
        aperture: { ...geometry.aperture },
        pageSizes: geometry.page_size_bitmap ? pageSizes(geometry.page_size_bitmap) : geometry.page_sizes,
        ...(geometry.page_table_type_1 && {
          table1: {
            aperture: { ...geometry.page_table_type_1.aperture },
            pageSizes: pageSizes(geometry.page_table_type_1.page_size_bitmap),
          },
        }),
        reserved: geometry.reserved.map((range) => ({ ...range })),
        dirtyTracking: geometry.dirty_tracking,
        nesting: geometry.nesting,
        interruptRemapping: header.interrupt_remapping ?? true,
        maxPasidLog2: geometry.max_pasid_log2 ?? 0,
        hwInfo: {
          type: geometry.hw_info.type,
          length: geometry.hw_info.data_len,
          ...(geometry.hw_info.data !== undefined && { data: geometry.hw_info.data }),
        },
      },
    ],
    devices: devices.map((device) => deviceBody(device, ats)),
  };
}

function deviceBody(traced: TracedDevice, ats: boolean): { [key: string]: Json } {
  const { bdf, vendor, device, group, driver, info } = traced;
  const { flags, num_regions: regions, num_irqs: irqs } = info;
  const config = configBody(traced);
  const known = { bdf, vendor, device, group, driver, reset: (flags & 1) !== 0, ats, regions, irqs };
  // `0x010802`: class and subclass, then the programming interface.
  return { ...known, ...(traced.class && { class: traced.class.slice(2, 6) }), ...(config && { config }) };
}

/** The bytes of the header that say what functions are made from, and the rest as traced. */
function configBody(traced: TracedDevice): { [key: string]: Json } | null {
  const { config: image, config_size: size, bars, capabilities, extended_capabilities: extended } = traced;
  if (image === undefined) return null;
  return {
    size: size!,
    progIf: Number.parseInt(traced.class!.slice(6), 16),
    revision: Number(traced.revision!),
    subsystemVendor: traced.subsystem_vendor!.slice(2),
    subsystemDevice: traced.subsystem_device!.slice(2),
    interruptPin: Buffer.from(image, 'base64')[0x3d]!,
    bars: bars!.map(camel),
    capabilities: capabilities!.map(camel),
    extendedCapabilities: extended!.map(camel),
    image,
  };
}

function camel(fields: JsonObject): JsonObject {
  const renamed = Object.entries(fields).map(([name, value]) => [
    name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
    value,
  ]);
  return Object.fromEntries(renamed) as JsonObject;
}

/** A function of its own group, as the mock IOMMU's devices are. */
export function pluggedBody(
  geometry: Geometry,
  bdf: string,
  features: { noDirty: boolean; pasid: boolean },
): { [key: string]: Json } {
  return {
    bdf,
    iommu: UNIT,
    driver: 'vfio-pci',
    ats: hasAts(geometry),
    dirtyTracking: !features.noDirty,
    pasid: features.pasid,
  };
}

function hasAts({ hw_info }: Geometry): boolean {
  return (BigInt(hw_info.capabilities) & NO_ATS) === 0n;
}

function pageSizes(bitmap: string): string[] {
  const bits = BigInt(bitmap);
  return Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit))
    .filter((size) => (bits & size) !== 0n)
    .map((size) => `0x${size.toString(16)}`);
}
