/** Reads the IOMMU units of a host from their description. */
import { hex } from '../machine/address.ts';
import type { IommuKind, IommuUnitSpec, ReservedRange, ReservedType, TableSpec } from '../machine/spec.ts';
import { segmentOf } from '../machine/topology/functions.ts';
import { defaultUnit, unitId, unitKind } from '../machine/topology/iommus.ts';
import { type Problem, type RangeRequest, readRange, readU64, type U64 } from './request-values.ts';

export interface ReservedRequest extends RangeRequest {
  type: ReservedType;
}

export interface TableRequest {
  aperture: RangeRequest;
  /** Leaf sizes in bytes: powers of two, ascending, the smallest at least 0x800. */
  pageSizes: U64[];
}

/** The description of a unit; defaults are those of `defaultUnit` for its kind. */
export interface IommuRequest {
  /** Default: `dmar0`, `ivhd0`, `smmu0`, `mock0` and so on, by kind. */
  id?: string;
  kind: IommuKind;
  aperture?: RangeRequest;
  pageSizes?: U64[];
  table1?: TableRequest;
  reserved?: ReservedRequest[];
  dirtyTracking?: boolean;
  nesting?: boolean;
  interruptRemapping?: boolean;
  /** If true, the kernel is booted with `allowUnsafeInterrupts` (BootOptions). */
  allowUnsafeInterrupts?: boolean;
  cacheCoherency?: boolean;
  defaultDomain?: 'dma' | 'identity' | 'blocked';
  maxPasidLog2?: number;
  hwInfo?: { type: number; length: number; data?: string };
}

/** Makes a unit of a kind for each PCI domain of these addresses; one if there are no addresses. */
export function defaultUnits(bdfs: string[], kind: IommuKind): IommuUnitSpec[] {
  const segments = new Set(bdfs.map(segmentOf));
  return Array.from({ length: Math.max(1, segments.size) }, (_, index) => defaultUnit(kind, unitId(kind, index)));
}

/** Makes the units that a text names, and those of `defaultUnits` for the functions without a unit (`others`). */
export function namedUnits(ids: readonly string[], others: string[], kind: IommuKind): IommuUnitSpec[] {
  const named = ids.map((id) => defaultUnit(unitKind(id), id));
  if (named.length > 0 && others.length === 0) return named;
  const taken = new Set(ids);
  return [...named, ...defaultUnits(others, kind).filter(({ id }) => !taken.has(id))];
}

export function readUnits(requests: IommuRequest[], errors: Problem[]): IommuUnitSpec[] {
  const taken = new Set(requests.flatMap((request) => request.id ?? []));
  const seen = new Map<string, number>();
  const next = new Map<IommuKind, number>();
  return requests.map((request, index) => {
    const pointer = `/iommus/${index}`;
    const id = request.id ?? freeId(request.kind, taken, next);
    const first = seen.get(id);
    if (first === undefined) seen.set(id, index);
    else errors.push({ pointer: `${pointer}/id`, reason: `"${id}" is the id of /iommus/${first} already` });
    return readUnit(request, id, pointer, errors);
  });
}

/** `next`: the number of each kind below which none is free. */
function freeId(kind: IommuKind, taken: Set<string>, next: Map<IommuKind, number>): string {
  let index = next.get(kind) ?? 0;
  while (taken.has(unitId(kind, index))) index++;
  next.set(kind, index + 1);
  const id = unitId(kind, index);
  taken.add(id);
  return id;
}

function readUnit(request: IommuRequest, id: string, pointer: string, errors: Problem[]): IommuUnitSpec {
  const unit = defaultUnit(request.kind, id);
  const {
    aperture,
    pageSizes,
    table1,
    reserved,
    hwInfo,
    allowUnsafeInterrupts: _boot,
    kind,
    id: _,
    ...flags
  } = request;
  if (aperture) unit.table.aperture = readRange(aperture, `${pointer}/aperture`, errors, false) ?? unit.table.aperture;
  if (pageSizes) unit.table.pageSizes = readPageSizes(pageSizes, `${pointer}/pageSizes`, errors);
  if (table1) unit.table1 = readTable(table1, `${pointer}/table1`, errors) ?? unit.table1;
  if (reserved) unit.reserved = readReserved(reserved, `${pointer}/reserved`, errors);
  if (hwInfo) unit.hwInfo = readHwInfo(hwInfo, `${pointer}/hwInfo`, errors);
  return { ...unit, ...flags };
}

function readTable(table: TableRequest, pointer: string, errors: Problem[]): TableSpec | null {
  const pageSizes = readPageSizes(table.pageSizes, `${pointer}/pageSizes`, errors);
  const aperture = readRange(table.aperture, `${pointer}/aperture`, errors, false);
  return aperture && { aperture, pageSizes };
}

function readPageSizes(sizes: U64[], pointer: string, errors: Problem[]): string[] {
  if (sizes.length === 0) errors.push({ pointer, reason: 'at least one page size' });
  let previous = 0n;
  return sizes.map((value, index) => {
    const size = readU64(value, `${pointer}/${index}`, errors);
    if (size === null) return '0x1000';
    if (size < 0x800n || (size & (size - 1n)) !== 0n)
      errors.push({ pointer: `${pointer}/${index}`, reason: `${hex(size)} is not a power of two from 0x800 on` });
    else if (size <= previous)
      errors.push({
        pointer: `${pointer}/${index}`,
        reason: `${hex(size)} is not above ${hex(previous)}: sizes ascend`,
      });
    previous = size;
    return hex(size);
  });
}

export function readReserved(ranges: ReservedRequest[], pointer: string, errors: Problem[]): ReservedRange[] {
  return ranges.flatMap(({ type, ...range }, index) => {
    const read = readRange(range, `${pointer}/${index}`, errors, true);
    return read ? [{ ...read, type }] : [];
  });
}

/** Checks hardware info: `data` may be absent (zeroes are reported), but must have `length` bytes if given. */
function readHwInfo(info: NonNullable<IommuRequest['hwInfo']>, pointer: string, errors: Problem[]) {
  const { data, length } = info;
  if (data !== undefined) {
    const bytes = (data.replace(/=+$/, '').length * 3) >> 2;
    if (bytes !== length)
      errors.push({ pointer: `${pointer}/data`, reason: `${bytes} bytes, but length says ${length}` });
  }
  return info;
}
