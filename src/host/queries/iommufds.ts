/** Queries of iommufds and their objects. */

import type { IommufdContext } from '../../kernel/iommufd/context.ts';
import { IommufdDevice } from '../../kernel/iommufd/device/device.ts';
import { Hwpt, HwptPaging } from '../../kernel/iommufd/hw-pagetable/hwpt.ts';
import { Ioas } from '../../kernel/iommufd/ioas.ts';
import type { IommufdObject } from '../../kernel/iommufd/objects.ts';
import { hex, UMAX } from '../../machine/address.ts';
import { READ, WRITE } from '../../machine/page-table.ts';
import { notFound, ok } from '../answers.ts';
import type { Answer } from '../command.ts';
import type { HwptView, IoasView, IommufdView, MappingView, ObjectView } from '../views.ts';
import { firstOf, leftOut, listAnswer } from './page.ts';
import { type Found, type Rows, STEP } from './row.ts';

function* iommufdView(context: IommufdContext): Generator<void, IommufdView> {
  const objects: IommufdObject[] = [];
  const ioases: Ioas[] = [];
  const hwpts: Hwpt[] = [];
  const devices: IommufdDevice[] = [];
  for (const object of context.objects.visible()) {
    if (objects.push(object) % STEP === 0) yield;
    if (object instanceof Ioas) ioases.push(object);
    else if (object instanceof Hwpt) hwpts.push(object);
    else if (object instanceof IommufdDevice) devices.push(object);
  }
  return {
    objects: firstOf(objects).map(objectView),
    ioases: firstOf(ioases).map(({ id }) => id),
    hwpts: firstOf(hwpts).map(({ id }) => id),
    devices: firstOf(devices).map((device) => ({
      id: device.id,
      bdf: device.fn.bdf,
      hwpt: device.hwpt?.id ?? null,
    })),
    preserved: context.preservedIn !== null,
    restored: context.restored !== null,
    ...leftOut({
      objects: objects.length,
      ioases: ioases.length,
      hwpts: hwpts.length,
      devices: devices.length,
    }),
  };
}

const objectView = ({ id, type, users }: IommufdObject): ObjectView => ({ id, type, users });

function* ioasView(ioas: Ioas): Generator<void, IoasView> {
  const { iopt } = ioas;
  let high = 0;
  let low = 0;
  const { areas } = iopt;
  let seen = 0;
  for (let isThere = areas.seek(0, 0) || areas.next(); isThere; isThere = areas.next()) {
    high += areas.lastHigh - areas.iovaHigh;
    low += areas.lastLow - areas.iovaLow + 1;
    if (++seen % STEP === 0) yield;
  }
  return {
    ioas: ioas.id,
    areas: iopt.areas.size,
    bytes: hex((BigInt(high) << 32n) + BigInt(low)),
    alignment: hex(iopt.alignment),
    hwpts: ioas.hwpts.map(({ id }) => id),
    immutable: iopt.immutable,
    allowed: iopt.allowed.map(({ start, last }) => ({ start: hex(start), last: hex(last) })),
    reserved: iopt.reserved.map(({ start, last }) => ({ start: hex(start), last: hex(last) })),
  };
}

function mappings(ioas: Ioas, after: string | undefined, limit: number): MappingView[] {
  const found: MappingView[] = [];
  let area = after === undefined ? ioas.iopt.areas.first(0n, UMAX) : ioas.iopt.areas.after(BigInt(after));
  for (; area && found.length < limit; area = ioas.iopt.areas.after(area.iova))
    found.push({
      iova: hex(area.iova),
      length: hex(area.last - area.iova + 1n),
      readable: (area.access & READ) !== 0,
      writeable: (area.access & WRITE) !== 0,
      source: ioas.iopt.originOf(area).kind,
      offset: hex(area.start),
    });
  return found;
}

function hwptView(hwpt: Hwpt): HwptView {
  const { context, paging } = hwpt;
  const devices = [...context.attachments.values()]
    .filter((attachment) => attachment.hwpt === hwpt)
    .flatMap((attachment) => [...attachment.devices].map((device) => device.fn.bdf));
  const mark = hwpt instanceof HwptPaging ? hwpt.mark : null;
  return {
    hwpt: hwpt.id,
    type: hwpt.type === 'hwpt-paging' ? 'paging' : 'nested',
    ioas: paging.ioas?.id ?? null,
    auto: hwpt instanceof HwptPaging && hwpt.auto,
    restored: paging.restored,
    token: mark === null ? null : hex(mark),
    domain: paging.domain.id,
    devices,
    dirtyTracking: paging.domain.dirtyEnabled,
  };
}

function* answering<View>(steps: Generator<void, View>): Generator<void, Answer> {
  return ok(yield* steps);
}

function onIoas({ objects }: IommufdContext, id: number, answer: (ioas: Ioas) => Found): Found {
  const ioas = objects.get(id);
  return ioas instanceof Ioas ? answer(ioas) : notFound(`IOAS ${id}`);
}

export const IOMMUFD_VIEWS: Rows<'iommufd' | 'objects' | 'ioas' | 'mappings' | 'hwpt'> = {
  iommufd: { needs: 'iommufd', answer: (context) => answering(iommufdView(context)) },
  objects: {
    needs: 'iommufd',
    answer: ({ objects }, query) =>
      listAnswer(query, { items: objects.visible(), view: objectView, key: ({ id }) => id }),
  },
  ioas: {
    needs: 'iommufd',
    answer: (context, { ioas }) => onIoas(context, ioas, (found) => answering(ioasView(found))),
  },
  mappings: {
    needs: 'iommufd',
    answer: (context, { ioas: id, after, limit }) => onIoas(context, id, (ioas) => ok(mappings(ioas, after, limit))),
  },
  hwpt: {
    needs: 'iommufd',
    answer({ objects }, { hwpt: id }) {
      const hwpt = objects.get(id);
      return hwpt instanceof Hwpt ? ok(hwptView(hwpt)) : notFound(`HWPT ${id}`);
    },
  },
};
