/**
 * Kexec handover (kernel/liveupdate/kexec_handover.c): which pages the next kernel must reserve, and the document that
 * carries everything else. The document is plain JSON: it is what is stored between two kernels.
 */

import type { FrameRun } from '../../machine/memory.ts';
import { LazyMap } from '../lazy-map.ts';
import type { Json } from './json.ts';

export const KHO_ABI = 'kho-v4';
export const LUO_ABI = 'luo-v5';
export const IOMMU_ABI = 'iommu-v1';
export const PCI_ABI = 'pci-v1';

export interface DomainRecord {
  id: number;
  unit: string;
  tableType: 0 | 1;
  dirtyTracking: boolean;
  root: number;
  tables: FrameRun[];
}

export interface DeviceRecord {
  bdf: string;
  unit: string;
  domain: number;
  session: string;
  iommufdToken: string;
  resetWorks: boolean;
}

export interface UnitRecord {
  unit: string;
  root: number;
  tables: FrameRun[];
}

export interface FileRecord {
  token: string;
  compatible: string;
  data: Json;
}

export interface HandoverDocument {
  kho: string;
  kexecCount: number;
  /** Frames that the next kernel reserves. */
  preserved: FrameRun[];
  luo: { abi: string; number: number; sessions: { name: string; files: FileRecord[] }[] };
  iommu: { abi: string; units: UnitRecord[]; domains: DomainRecord[]; devices: DeviceRecord[] } | null;
  pci: { abi: string; devices: string[] } | null;
}

/** The preserved-memory map: the frames that each owner has preserved. */
export class Kho {
  private readonly _preserved = new LazyMap<object, FrameRun[]>();

  preserve(owner: object, runs: readonly FrameRun[]): void {
    this._preserved.set(
      owner,
      runs.map(({ start, count }) => ({ start, count })),
    );
  }

  unpreserve(owner: object): void {
    this._preserved.delete(owner);
  }

  /** Frames by whoever preserved them. */
  get preserved(): ReadonlyMap<object, readonly FrameRun[]> {
    return this._preserved;
  }

  /** All preserved frames, ascending, adjacent runs as one. */
  runs(): FrameRun[] {
    const sorted = [...this._preserved.values()].flat().sort((a, b) => a.start - b.start);
    const joined: FrameRun[] = [];
    for (const run of sorted) {
      const left = joined[joined.length - 1];
      if (left && left.start + left.count >= run.start)
        left.count = Math.max(left.count, run.start + run.count - left.start);
      else joined.push({ ...run });
    }
    return joined;
  }

  get frames(): number {
    return this.runs().reduce((sum, run) => sum + run.count, 0);
  }
}
