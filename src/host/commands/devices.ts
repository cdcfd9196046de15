/** Commands on PCI functions: plugging in and out, DMA, resets. */

import { refuse } from '../../kernel/errno.ts';
import type { VfioPciCore } from '../../kernel/vfio/pci/core.ts';
import { MESSAGE_ADDRESS } from '../../kernel/vfio/pci/irqs.ts';
import { messageWritten, raise } from '../../kernel/vfio/pci/raise.ts';
import { hex } from '../../machine/address.ts';
import { barOf, ROM_BAR, storeInBar } from '../../machine/pci/bar-memory.ts';
import type { PciFunction } from '../../machine/pci/function.ts';
import { notFound, ok, refused } from '../answers.ts';
import type { Answer, DmaAccess, DmaResult } from '../command.ts';
import type { Host } from '../host.ts';
import { behindEnd, bytesFrom } from '../queries/bars.ts';
import { deviceView } from '../queries/devices.ts';
import type { Family, Rows } from './row.ts';

export const DEVICES: Rows<Family<'device'>> = {
  'device.add': {
    needs: 'kernel',
    run(host, { device }, kernel) {
      if (host.machine.functions.has(device.bdf))
        return refused(refuse('EEXIST', 'pci_scan_single_device', `${device.bdf} is there already`));
      const fn = kernel.addFunction(device);
      if (!device.driver) return ok(deviceView(host, fn));
      const refusal = kernel.drivers.bind(fn, device.driver);
      if (!refusal) return ok(deviceView(host, fn));
      kernel.removeFunction(fn);
      return refused(refusal);
    },
  },
  'device.remove': {
    needs: 'kernel and function',
    run: (_host, _command, fn, { drivers }) => ok(drivers.remove(fn).blocked ? { blocked: true } : {}),
  },
  'device.update': {
    needs: 'kernel and function',
    run(host, { interruptsEnabled }, fn) {
      fn.interruptsEnabled = interruptsEnabled;
      return ok(deviceView(host, fn));
    },
  },
  'device.dma': {
    needs: 'function',
    run: (host, { accesses }, fn) => ok({ results: accesses.map((access) => dma(host, fn, access)) }),
  },
  'device.interrupt': {
    needs: 'function',
    run: (host, { type, vector }, fn) => ok(raise(host, fn, coreOf(host, fn), type, vector)),
  },
  'device.flr': {
    needs: 'kernel and function',
    run(host, _command, fn, kernel) {
      // Without a reset method sysfs has no file `reset` (pci_dev_reset_attr_is_visible).
      if (!fn.spec.reset)
        return refused(refuse('ENOENT', 'do_filp_open', `${fn.bdf} cannot be reset: it has no \`reset\` in sysfs`));
      kernel.resetFunction(fn, 'sysfs');
      return ok(deviceView(host, fn));
    },
  },
  'device.bar': {
    needs: 'function',
    run: (host, { bar, offset, data }, fn) => storeBar(host, fn, bar, BigInt(offset), Uint8Array.fromBase64(data)),
  },
};

/** The device itself stores into memory of its own, which nothing keeps it from. */
function storeBar(host: Host, fn: PciFunction, index: number, offset: bigint, data: Uint8Array): Answer {
  const bar = barOf(fn, index);
  if (!bar) return notFound(`BAR ${index} of ${fn.bdf}`);
  if (index === ROM_BAR) return refused(refuse('EINVAL', 'bar', 'the expansion ROM cannot be written'));
  const left = bytesFrom(bar, offset);
  if (left === 0) return refused(behindEnd(fn, bar));
  const count = Math.min(left, data.length);
  storeInBar(fn, bar, Number(offset), data.subarray(0, count));
  coreOf(host, fn)?.irqs.barWritten(index, Number(offset), count);
  return ok({ count });
}

/** Owners of frames that IOMMUs walk. */
const IOMMU_TABLES: ReadonlySet<string> = new Set(['page-table', 'context-table']);

export function dma(host: Host, fn: PciFunction, access: DmaAccess): DmaResult {
  const data = new Uint8Array(access.length);
  if (access.op === 'write' && access.data) data.set(Uint8Array.fromBase64(access.data).subarray(0, access.length));
  const outcome = host.machine.dma(fn, access.op, BigInt(access.iova), data);
  for (const frame of outcome.written) judgeWrite(host, fn, frame);
  if (outcome.interrupt) {
    host.emit('pci.interrupt', `${fn.bdf} wrote to the interrupt window`, { bdf: fn.bdf });
    writeMessage(host, fn, BigInt(access.iova), data);
  }
  if (!outcome.fault) return access.op === 'read' ? { ok: true, data: data.toBase64() } : { ok: true };
  const { reason, op, iova, bdf } = outcome.fault;
  const fault = { reason, op, iova: hex(iova), bdf };
  host.emit('dma.fault', `${bdf}: ${op} of ${fault.iova} is refused: ${reason}`, fault);
  return { ok: false, fault };
}

/** What vfio-pci keeps of the function while a program has it open. */
const coreOf = ({ kernel }: Host, fn: PciFunction): VfioPciCore | null => kernel?.vfio.devices.get(fn.bdf)?.pci ?? null;

/** A write that has reached the interrupt window: raises the interrupt whose message it is, if it is one. */
function writeMessage(host: Host, fn: PciFunction, iova: bigint, data: Uint8Array): void {
  const core = coreOf(host, fn);
  const at = MESSAGE_ADDRESS - iova;
  if (!core || at < 0n || at + 4n > data.length) return;
  messageWritten(core, new DataView(data.buffer, data.byteOffset).getUint32(Number(at), true));
}

/** Reports a write into memory that is nobody's or somebody else's, which would corrupt a real machine. */
function judgeWrite(host: Host, fn: PciFunction, frame: number): void {
  const { bdf } = fn;
  const run = host.machine.memory.runAt(frame);
  if (!run) {
    const stray = { hazard: 'stray-write', bdf, frame } as const;
    host.emit('hazard', `${bdf} wrote into frame ${frame}, which nobody owns`, stray);
    return;
  }
  // No domain maps tables of an IOMMU, and a write that reaches one without translation is a fault, too.
  const owner = IOMMU_TABLES.has(run.owner) ? run.owner : host.kernel?.iommu.foreignOwner(fn, frame);
  if (!owner) return;
  const foreign = { hazard: 'foreign-write', bdf, frame, owner } as const;
  host.emit('hazard', `${bdf} wrote into frame ${frame}, which belongs to somebody else by now: ${owner}`, foreign);
}
