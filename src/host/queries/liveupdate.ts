/** What live update knows of files and devices: what a file in a session is, and which session a device or a descriptor is in. */
import type { OpenFile } from '../../kernel/file.ts';
import type { RestoredHwpt } from '../../kernel/iommu/liveupdate/restored-hwpt.ts';
import { IommufdContext } from '../../kernel/iommufd/context.ts';
import { HwptPaging } from '../../kernel/iommufd/hw-pagetable/hwpt.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { isList, isRecord, type Json } from '../../kernel/kho/json.ts';
import { MemfdFile } from '../../kernel/mm/memfd-file.ts';
import { VfioDeviceFile } from '../../kernel/vfio/device-file.ts';
import { hex } from '../../machine/address.ts';
import type { DeviceLiveupdate, PreservedFile } from '../views.ts';

const NOTHING = { device: null, size: null, hwpts: null };

/** What an open file is, as far as sessions take it. */
export function aboutFile(file: OpenFile): PreservedFile {
  if (file instanceof MemfdFile) return { ...NOTHING, size: hex(file.inode.size) };
  if (file instanceof VfioDeviceFile) return { ...NOTHING, device: file.device.fn.bdf };
  if (file instanceof IommufdContext) return { ...NOTHING, hwpts: markedIn(file) };
  return NOTHING;
}

function markedIn(context: IommufdContext): PreservedFile['hwpts'] {
  const hwpts: { token: string; domain: number }[] = [];
  for (const object of context.objects.visible())
    if (object instanceof HwptPaging && object.mark !== null)
      hwpts.push({ token: hex(object.mark), domain: object.domain.id });
  return hwpts;
}

/** The same of one that was handed over and not retrieved: its data says what it was. Each of the three kinds has one of these fields. */
export function aboutData(data: Json): PreservedFile {
  if (!isRecord(data)) return NOTHING;
  const { bdf, size, hwpts } = data;
  if (typeof bdf === 'string') return { ...NOTHING, device: bdf };
  if (typeof size === 'string') return { ...NOTHING, size };
  if (isList(hwpts)) return { ...NOTHING, hwpts: hwpts as unknown as PreservedFile['hwpts'] };
  return NOTHING;
}

/** Where devices stand in sessions, by their addresses: of this kernel, or of the one before until it is finished. */
export function devicesInSessions({ luo, vfio, restored }: Kernel): Map<string, DeviceLiveupdate> {
  const found = new Map<string, DeviceLiveupdate>();
  if (!luo) return found;
  const cameIn = (session: string, token: string, data: Json): void => {
    const { device } = aboutData(data);
    if (device === null) return;
    const known = restored.devices.get(device);
    const hwptToken = known ? tokenOf(restored.hwpts, known.domain) : null;
    found.set(device, { session, token, hwptToken });
  };
  for (const { name, files } of luo.waitingRecords) for (const { token, data } of files) cameIn(name, token, data);
  for (const { name, files } of luo.incoming) for (const { token, data } of files) cameIn(name, hex(token), data);
  for (const { name, files } of luo.outgoing)
    for (const { file, token } of files) {
      if (!(file instanceof VfioDeviceFile)) continue;
      const hwpt = vfio.devices.get(file.device.fn.bdf)?.bound?.hwpt;
      const mark = hwpt instanceof HwptPaging ? hwpt.mark : null;
      found.set(file.device.fn.bdf, { session: name, token: hex(token), hwptToken: mark === null ? null : hex(mark) });
    }
  return found;
}

function tokenOf(all: Iterable<ReadonlyMap<bigint, RestoredHwpt>>, domain: object): string | null {
  for (const hwpts of all)
    for (const [token, record] of hwpts) if (record.state !== 'gone' && record.domain === domain) return hex(token);
  return null;
}
