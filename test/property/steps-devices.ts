/** Steps of devices: cdevs, attachments, DMA. */
import { type Action, anyId, anyPid, BAD_FD, call, type Descriptor, descriptors, type Maker } from './actions.ts';
import { UMAX } from './model/base.ts';
import type { Cdev } from './model/objects.ts';
import type { Model } from './model.ts';
import type { Picks } from './picks.ts';
import { ask, needing, withIommufd } from './requests.ts';
import { anyRange } from './values.ts';

/** A cdev, bound or not as asked for; now and then another or none. */
function anyCdev(model: Model, picks: Picks, bound: boolean): Descriptor<Cdev | null> {
  const all = descriptors(model, 'cdev');
  const fitting = all.filter(({ file }) => (file.bound !== null) === bound);
  return picks.mostly<Descriptor<Cdev | null>>(fitting.length > 0 ? fitting : all, 20, [
    ...all,
    { pid: anyPid(model, picks), fd: BAD_FD, file: null },
  ]);
}

const openCdev: Maker = (model, picks) => {
  const pid = picks.mostly(withIommufd(model), 10, [...model.processes.keys()]);
  const groups = new Set([...model.cdevs].filter(({ bound }) => bound).map(({ fn }) => fn.group));
  const siblings = model.functions.filter((fn) => groups.has(fn.group) && !model.isBound(fn));
  return call(pid, 'open', {
    path: picks.one(siblings.length > 0 && picks.rarely(2) ? siblings : model.functions).cdev,
  });
};

const bind: Maker = needing(
  (model) => descriptors(model, 'cdev').some(({ pid, file }) => !file.bound && withIommufd(model).includes(pid)),
  openCdev,
  (model, picks) => {
    const all = descriptors(model, 'cdev');
    const good = all.filter(({ pid, file }) => !file.bound && withIommufd(model).includes(pid));
    const cdev = good.length > 0 && !picks.rarely(10) ? picks.one(good) : anyCdev(model, picks, false);
    const mine = [...(model.processes.get(cdev.pid)?.descriptors ?? [])];
    const iommufds = mine.filter(([, file]) => file.kind === 'iommufd').map(([fd]) => fd);
    const iommufd = picks.mostly(iommufds, 20, [...mine.map(([fd]) => fd), BAD_FD, -1]);
    return ask(picks, cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd });
  },
);

/** To an object of one of these types, mostly of a device that is not attached yet. */
const attachTo =
  (types: readonly ('ioas' | 'hwpt')[]): Maker =>
  (model, picks) => {
    const idle = descriptors(model, 'cdev').filter(({ file }) => file.bound && !model.attachment(file.fn));
    const cdev = idle.length > 0 && picks.rarely(2) ? picks.one(idle) : anyCdev(model, picks, true);
    const pt_id = anyId(cdev.file?.bound?.context ?? null, picks, picks.one(types));
    return ask(picks, cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id });
  };

const hasBound = (model: Model): boolean => descriptors(model, 'cdev').some(({ file }) => file.bound !== null);
/** Functions that are not alone in their group. */
const openPair: Maker = (model, picks) => {
  const pairs = model.functions.filter(
    (fn) => !model.isBound(fn) && model.functions.some((other) => other !== fn && other.group === fn.group),
  );
  const pid = picks.mostly(withIommufd(model), 10, [...model.processes.keys()]);
  return call(pid, 'open', { path: picks.one(pairs.length > 0 ? pairs : model.functions).cdev });
};

export const DEVICE_STEPS: Readonly<Record<string, Maker>> = {
  openCdev,
  openPair,
  bind,
  attach: needing(hasBound, bind, attachTo(['ioas', 'ioas', 'hwpt'])),
  attachHwpt: needing(hasBound, bind, attachTo(['hwpt'])),
  detach: (model, picks) => ask(picks, anyCdev(model, picks, true), 'VFIO_DEVICE_DETACH_IOMMUFD_PT', {}),
  dmaWrite: (model, picks) => dma(model, picks, 'write'),
  dmaRead: (model, picks) => dma(model, picks, 'read'),
};

/** Mostly by a device that is attached, where something is mapped. */
function dma(model: Model, picks: Picks, op: 'read' | 'write'): Action {
  const attached = model.functions.filter((fn) => typeof model.domainOf(fn) !== 'string');
  const fn = picks.mostly(attached, 20, model.functions);
  const owner = model.owner(fn.group);
  const space = owner?.attachments.get(fn.group)?.hwpt.ioas.space ?? null;
  const { iova } = anyRange(model, space, picks);
  const length = picks.mostly([1, 4, 16], 6, [0x900, 0x1800]);
  const data = new Uint8Array(length);
  if (op === 'write') data.fill(1 + picks.below(255));
  return { kind: 'dma', fn, op, iova: (iova + BigInt(picks.one([0, 0x7f8, 0xffe, 0x1000]))) & UMAX, data };
}
