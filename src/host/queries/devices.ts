/** Queries of PCI functions, and of where their DMA goes. */
import { MAX_RUNS } from '../../limits.ts';
import type { PciFunction } from '../../machine/pci/function.ts';
import { ok } from '../answers.ts';
import type { Answer } from '../command.ts';
import type { Host } from '../host.ts';
import type { ConfigView, DeviceLiveupdate, DeviceView } from '../views.ts';
import { barBytes } from './bars.ts';
import { domainOf, ownerOf } from './groups.ts';
import { devicesInSessions } from './liveupdate.ts';
import { listAnswer } from './page.ts';
import { type Rows, STEP } from './row.ts';
import { Runs, tooManyRuns } from './runs.ts';

/** `places`: where devices stand in sessions, if that is known already. */
export function deviceView(host: Host, fn: PciFunction, places = placesOf(host)): DeviceView {
  const { kernel } = host;
  const unit = fn.spec.iommu === null ? null : host.machine.unitOf(fn);
  const group = kernel?.iommu.groupOf(fn);
  const vfio = kernel?.vfio.devices.get(fn.bdf);
  const { name, vendor, device, class: code } = fn.spec;
  return {
    bdf: fn.bdf,
    name,
    vendor,
    device,
    class: code,
    group: fn.spec.group,
    iommu: unit?.id ?? null,
    iommuKind: unit?.kind ?? null,
    driver: kernel?.drivers.bound.get(fn.bdf) ?? null,
    unbinding: vfio?.unbinding ?? false,
    cdev: vfio && !vfio.unbinding ? vfio.path : null,
    owner: group ? ownerOf(group) : null,
    state: kernel?.restored.stateOf(fn) ?? 'N',
    domain: group ? domainOf(group.domain) : { kind: unit ? 'blocked' : 'none', id: null, restored: false },
    liveupdate: places.get(fn.bdf) ?? null,
    preserved: vfio?.files.values().some((file) => file.preserved) ?? false,
    interruptsEnabled: vfio?.interruptsEnabled ?? fn.interruptsEnabled,
    reset: fn.spec.reset,
    canReset: fn.spec.reset,
    resets: fn.resets,
    sriov: fn.spec.sriov,
    physicalFunction: fn.spec.physicalFunction ?? null,
    realDmaDevice: fn.spec.realDmaDevice ?? null,
  };
}

const placesOf = ({ kernel }: Host): Map<string, DeviceLiveupdate> => (kernel ? devicesInSessions(kernel) : new Map());

function configView({ config }: PciFunction): ConfigView {
  const { size, bars, capabilities, extendedCapabilities } = config.spec;
  const data = config.bytes().toBase64();
  config.forget();
  return { size, data, bars, capabilities, extendedCapabilities };
}

function* translation(host: Host, fn: PciFunction, iova: bigint, length: bigint): Generator<void, Answer> {
  const found = new Runs();
  if (length === 0n) return ok(found.runs);
  let pieces = 0;
  for (const piece of host.machine.translations(fn, iova, iova + length - 1n)) {
    if (++pieces % STEP === 0) yield;
    found.add(piece.iova, BigInt(piece.length), piece.physical, piece.readable, piece.writeable);
    if (found.runs.length > MAX_RUNS) return tooManyRuns('translation');
  }
  return ok(found.runs);
}

/** About how many bytes a device has as JSON. */
const DEVICE_BYTES = 640;

const sorted = (functions: Iterable<PciFunction>): PciFunction[] =>
  [...functions].sort((a, b) => (a.bdf < b.bdf ? -1 : 1));

export const DEVICE_VIEWS: Rows<'devices' | 'device' | 'config' | 'translation' | 'bar'> = {
  devices: {
    needs: 'host',
    answer(host, query) {
      const places = placesOf(host);
      return listAnswer(query, {
        items: query.limit === undefined ? host.machine.functions.values() : sorted(host.machine.functions.values()),
        view: (fn) => deviceView(host, fn, places),
        key: (fn) => fn.bdf,
        size: () => DEVICE_BYTES,
      });
    },
  },
  device: { needs: 'function', answer: (host, _query, fn) => ok(deviceView(host, fn)) },
  config: { needs: 'function', answer: (_host, _query, fn) => ok(configView(fn)) },
  translation: {
    needs: 'function',
    answer: (host, { iova, length }, fn) => translation(host, fn, BigInt(iova), BigInt(length)),
  },
  bar: {
    needs: 'function',
    answer: (_host, { bar, offset, length }, fn) => barBytes(fn, bar, BigInt(offset), length),
  },
};
