/** Objects of iommufds: who uses whom, ids, and the lists in which objects have each other. */
import type { IommufdContext } from '../../kernel/iommufd/context.ts';
import { Access } from '../../kernel/iommufd/device/access.ts';
import { type GroupAttachment, IommufdDevice } from '../../kernel/iommufd/device/device.ts';
import { FaultQueue } from '../../kernel/iommufd/eventq/fault-queue.ts';
import { ObjectFile } from '../../kernel/iommufd/eventq/queue-file.ts';
import { Veventq } from '../../kernel/iommufd/eventq/veventq.ts';
import { Hwpt, HwptPaging } from '../../kernel/iommufd/hw-pagetable/hwpt.ts';
import { HwptNested } from '../../kernel/iommufd/hw-pagetable/nested.ts';
import { Ioas } from '../../kernel/iommufd/ioas.ts';
import type { IommufdObject } from '../../kernel/iommufd/objects.ts';
import { HwQueue } from '../../kernel/iommufd/viommu/hw-queue.ts';
import { Vdevice } from '../../kernel/iommufd/viommu/vdevice.ts';
import { Viommu } from '../../kernel/iommufd/viommu/viommu.ts';
import type { Census } from './census.ts';
import { type Findings, Tally } from './finding.ts';
import { checkLowestFree } from './lowest-free.ts';

const nameOf = ({ type, id }: IommufdObject): string => `${type} ${id}`;

export function checkObjects(census: Census, found: Findings): void {
  const users = new Tally<IommufdObject>();
  for (const file of census.files.items()) if (file instanceof ObjectFile) users.add(file.object, census.nameOf(file));
  for (const viommu of census.pages.items()) for (const by of census.pages.of(viommu)) users.add(viommu, by);
  for (const context of census.contexts) {
    for (const object of context.objects.visible()) noteUses(object, users);
    for (const { hwpt, devices } of attachmentsOf(context))
      for (const device of devices) users.add(hwpt, nameOf(device));
  }
  for (const context of census.contexts) {
    checkLowestFree(`ids of ${census.nameOf(context)}`, 1, context.objects.ids, context.objects.lowestFree, found);
    for (const object of context.objects.visible()) {
      const where = census.nameOfObject(context, object);
      found.same('id', where, true, context.objects.get(object.id) === object);
      found.count('users', where, users.of(object), object.users);
    }
    checkLists(census, context, found);
    checkAttachments(census, context, found);
  }
  checkDomains(census, found);
}

/** Whom an object uses by itself. */
function noteUses(object: IommufdObject, users: Tally<IommufdObject>): void {
  const name = nameOf(object);
  if (object instanceof Hwpt && object.fault) users.add(object.fault, name);
  if (object instanceof HwptPaging && object.ioas) users.add(object.ioas, name);
  else if (object instanceof HwptNested) users.add(object.viommu ?? object.paging, name);
  else if (object instanceof IommufdDevice) users.add(object, 'the driver that bound it');
  else if (object instanceof Viommu) users.add(object.parent, name);
  else if (object instanceof Vdevice || object instanceof Veventq) users.add(object.viommu, name);
  else if (object instanceof HwQueue) {
    users.add(object.viommu, name);
    if (object.previous) users.add(object.previous, name);
  } else if (object instanceof Access) {
    users.add(object, 'whoever made it');
    if (object.ioas) users.add(object.ioas, name);
  }
}

function* attachmentsOf(context: IommufdContext): Generator<GroupAttachment> {
  yield* context.attachments.values();
  for (const { attachment } of context.pasids) yield attachment;
}

type Kind<T> = abstract new (...args: never[]) => T;

function checkLists(census: Census, context: IommufdContext, found: Findings): void {
  const all = [...context.objects.visible()];
  const of = <T extends IommufdObject>(kind: Kind<T>): T[] =>
    all.filter((object): object is T => object instanceof kind);
  const where = (object: IommufdObject): string => census.nameOfObject(context, object);
  for (const ioas of of(Ioas)) {
    const hwpts = of(HwptPaging).filter((hwpt) => hwpt.ioas === ioas);
    found.set('HWPTs', where(ioas), hwpts, ioas.hwpts, nameOf);
    const domains = hwpts.map(({ domain }) => domain);
    found.set('domains', where(ioas), domains, ioas.iopt.domains, ({ id }) => `domain ${id}`);
    const accesses = of(Access).filter((access) => access.ioas === ioas);
    found.set('accesses', where(ioas), accesses, ioas.iopt.accesses.keys(), (access) =>
      access instanceof Access ? nameOf(access) : 'what is no access',
    );
    checkReserved(ioas, where(ioas), of(IommufdDevice), found);
  }
  for (const viommu of of(Viommu)) {
    const vdevices = of(Vdevice).filter((vdevice) => vdevice.viommu === viommu);
    found.set('vDEVICEs', where(viommu), vdevices, viommu.vdevices.values(), nameOf);
    const queues = of(Veventq).filter((queue) => queue.viommu === viommu);
    found.set('event queues', where(viommu), queues, viommu.veventqs, nameOf);
    const { page } = viommu;
    found.same('page to map', where(viommu), true, page === null || context.mmaps.get(page.offset) === page);
  }
  for (const device of of(IommufdDevice)) {
    const [vdevice = null] = of(Vdevice).filter((other) => other.device === device);
    found.same('vDEVICE', where(device), true, device.vdevice === vdevice);
    const { fn, group } = device;
    found.same(
      'group',
      where(device),
      true,
      context.kernel.iommu.groupOf(fn) === group && group.functions.includes(fn),
    );
    const bound = census.kernel.vfio.devices.get(fn.bdf)?.bound;
    found.same('binding', where(device), true, bound === device);
  }
  const live = new Set(attachmentsOf(context));
  for (const queue of of(FaultQueue)) {
    checkLowestFree(`cookies of ${where(queue)}`, 1, queue.cookies, queue.lowestFreeCookie, found);
    for (const { attachment } of queue.waiting())
      found.same('attachment of a fault', where(queue), true, live.has(attachment) && attachment.hwpt.fault === queue);
  }
  const { vfioIoas } = context;
  if (vfioIoas) found.same('IOAS of the container', census.nameOf(context), true, all.includes(vfioIoas));
}

/** Ranges that domains and devices have reserved, each as often as it has to be. */
function checkReserved({ iopt }: Ioas, where: string, devices: readonly IommufdDevice[], found: Findings): void {
  const reserved = new Map<object, string[]>();
  for (const { owner, start, last } of iopt.reserved)
    reserved.set(owner, [...(reserved.get(owner) ?? []), `${start}-${last}`]);
  const check = (owner: object, ranges: readonly string[], name: string): void =>
    found.same(
      `ranges reserved for ${name}`,
      where,
      [...ranges].sort().join(', '),
      (reserved.get(owner) ?? []).sort().join(', '),
    );
  const domains = new Set<object>(iopt.domains);
  for (const domain of iopt.domains) {
    const { apertureStart, apertureLast } = domain.format;
    const below = apertureStart > 0n ? [`0-${apertureStart - 1n}`] : [];
    const above = apertureLast < UMAX ? [`${apertureLast + 1n}-${UMAX}`] : [];
    check(domain, [...below, ...above], `domain ${domain.id}`);
  }
  for (const device of devices) {
    const here = device.hwpt?.paging.ioas?.iopt === iopt;
    const ranges = here ? device.context.kernel.iommu.reservedRanges(device.fn) : [];
    const kept = ranges.filter(({ type }) => type !== 'direct-relaxable').map(({ start, last }) => `${start}-${last}`);
    check(device, kept, `device ${device.id}`);
    domains.add(device);
  }
  // What a lever of the tests reserves has an owner of its own, of no class.
  for (const owner of reserved.keys())
    if (!domains.has(owner) && Object.getPrototypeOf(owner) !== Object.prototype)
      found.note('reserved ranges', where, 'none of who is not there', owner.constructor.name);
}

const UMAX = 2n ** 64n - 1n;

function checkAttachments(census: Census, context: IommufdContext, found: Findings): void {
  const where = census.nameOf(context);
  const check = ({ hwpt, devices }: GroupAttachment, what: string, group: object): void => {
    found.same(what, where, true, context.objects.get(hwpt.id) === hwpt && devices.size > 0);
    for (const device of devices)
      found.same(what, where, true, context.objects.get(device.id) === device && device.group === group);
  };
  for (const [group, attachment] of context.attachments) check(attachment, `attachment of group ${group.id}`, group);
  for (const { group, pasid, attachment } of context.pasids)
    check(attachment, `attachment of PASID ${pasid} of group ${group.id}`, group);
}

/** Each domain belongs to one HWPT, or to nobody yet and came from the previous kernel. */
function checkDomains({ kernel, contexts }: Census, found: Findings): void {
  const owners = new Tally<object>();
  for (const context of contexts)
    for (const object of context.objects.visible())
      if (object instanceof HwptPaging) owners.add(object.domain, nameOf(object));
  for (const [id, domain] of kernel.iommu.domains) {
    found.same('id', `domain ${domain.id}`, id, domain.id);
    const restored = kernel.restored.domains.get(id) === domain;
    found.same('whether it is restored', `domain ${id}`, domain.restored, restored);
    const hwpts = owners.of(domain).length;
    if (hwpts > 1 || (hwpts === 0 && !restored)) found.note('HWPTs', `domain ${id}`, 1, hwpts);
  }
  const listed = new Set<object>(kernel.iommu.domains.values());
  for (const domain of owners.items())
    found.same('place in the list of domains', `the domain of ${owners.of(domain)[0]}`, true, listed.has(domain));
  for (const [id, domain] of kernel.restored.domains)
    found.same('place in the list of domains', `restored domain ${id}`, true, kernel.iommu.domains.get(id) === domain);
}
