/** References of open files and of memfds, descriptors, and the files of devices and sessions. */

import { type Eventfd, EventfdFile } from '../../kernel/eventfd.ts';
import type { OpenFile } from '../../kernel/file.ts';
import { IommufdContext } from '../../kernel/iommufd/context.ts';
import { LiveUpdateFile, SessionFile } from '../../kernel/liveupdate/files.ts';
import type { OutgoingSession } from '../../kernel/liveupdate/handler.ts';
import type { IncomingSession } from '../../kernel/liveupdate/luo.ts';
import { Process } from '../../kernel/process.ts';
import { VfioDeviceFile } from '../../kernel/vfio/device-file.ts';
import { VfioGroupFile } from '../../kernel/vfio/group-file.ts';
import type { Census } from './census.ts';
import { type Findings, Tally } from './finding.ts';
import { checkLowestFree } from './lowest-free.ts';

export function checkFiles(census: Census, found: Findings): void {
  const { kernel, files } = census;
  for (const file of files.items()) found.count('references', census.nameOf(file), files.of(file), file.refs);
  for (const process of kernel.processes.values())
    checkLowestFree(
      `descriptors of process ${process.pid}`,
      Process.FIRST_DESCRIPTOR,
      process.descriptors.keys(),
      process.lowestFree,
      found,
    );
  checkInodes(census, found);
  checkDevices(census, found);
  checkEventfds(census, found);
  checkSessionFiles(census, found);
}

function checkInodes(census: Census, found: Findings): void {
  const { kernel, inodes, writers } = census;
  const keepers = new Tally<object>();
  for (const [domain, frozen] of kernel.restored.frozen)
    for (const inode of frozen) keepers.add(inode, `domain ${domain.id}`);
  for (const inode of inodes.items()) {
    const where = census.inodeName(inode);
    found.count('references', where, inodes.of(inode), inode.refs);
    found.count('shared writable mappings', where, writers.of(inode), inode.sharedWritable);
    const domains = kernel.policies.freezeRestoredMemfd ? keepers.of(inode) : [];
    found.count('restored domains', where, domains, inode.restoredDomains);
  }
}

function checkDevices(census: Census, found: Findings): void {
  const { vfio, drivers, machine } = census.kernel;
  const open = new Map<object, VfioDeviceFile[]>();
  for (const file of filesOf(census, VfioDeviceFile)) open.set(file.device, [...(open.get(file.device) ?? []), file]);
  for (const [bdf, device] of vfio.devices) {
    const files = open.get(device) ?? [];
    const name = (file: VfioDeviceFile): string => census.nameOf(file);
    found.set('open files', bdf, files, device.files, name);
    found.set(
      'files of the bound device',
      bdf,
      files.filter(({ bound }) => bound),
      device.boundFiles,
      name,
    );
    found.same('whether it is bound', bdf, device.boundFiles.size > 0, device.bound !== null);
    const { bound } = device;
    if (!bound) continue;
    found.same('bound device', bdf, true, bound.context.objects.get(bound.id) === bound && bound.fn === device.fn);
    const attached = [...bound.context.pasids]
      .filter(({ attachment }) => attachment.devices.has(bound))
      .map(({ pasid }) => pasid);
    const own = device.pasids.has(0) ? [0] : [];
    found.set('PASIDs', bdf, [...own, ...attached], device.pasids, String);
  }
  for (const bdf of drivers.bound.keys()) found.same('function of a driver', bdf, true, machine.functions.has(bdf));
  for (const file of filesOf(census, VfioGroupFile))
    found.same('open file', `legacy group ${file.group}`, !file.dead, vfio.groupFiles.get(file.group) === file);
}

/** What is on the wait queues of eventfds that are open: the virqfds of the devices, and nothing else. */
function checkEventfds(census: Census, found: Findings): void {
  const waiting = new Tally<Eventfd>();
  for (const [bdf, { pci }] of census.kernel.vfio.devices)
    for (const { eventfd } of pci ? [pci.irqs.intxUnmask, ...pci.ioeventfds] : [])
      if (eventfd) waiting.add(eventfd, bdf);
  for (const file of filesOf(census, EventfdFile))
    found.count('waiters', census.nameOf(file), waiting.of(file.eventfd), file.eventfd.waiters.size);
}

function checkSessionFiles(census: Census, found: Findings): void {
  const { luo } = census.kernel;
  if (!luo) return;
  const open = new Tally<OutgoingSession | IncomingSession>();
  for (const file of filesOf(census, SessionFile)) open.add((file.outgoing ?? file.incoming)!, census.nameOf(file));
  for (const session of luo.outgoing) found.same('open files', `session "${session.name}"`, 1, open.of(session).length);
  for (const session of luo.incoming)
    found.same(
      'open files',
      `incoming session "${session.name}" (${session.state})`,
      session.state === 'retrieved' ? 1 : 0,
      open.of(session).length,
    );
  const devices = [...filesOf(census, LiveUpdateFile)].length;
  found.same('open files', '/dev/liveupdate', luo.deviceOpen ? 1 : 0, devices);
}

type FileClass<T extends OpenFile> = abstract new (...args: never[]) => T;

function* filesOf<T extends OpenFile>({ files }: Census, kind: FileClass<T>): Generator<T> {
  for (const file of files.items()) if (file instanceof kind) yield file;
}

/** Iommufds that were retrieved and are open, and those that the restored state knows. */
export function checkRestoredContexts(census: Census, found: Findings): void {
  const open = [...filesOf(census, IommufdContext)].filter(({ restored }) => restored !== null);
  const name = (context: IommufdContext): string => census.nameOf(context);
  found.set('retrieved iommufds', 'the restored state', open, census.kernel.restored.contexts, name);
}
