/** Descriptors of queues (drivers/iommu/iommufd/eventq.c): they keep the queue and the iommufd, and never block. */
import { Refusal } from '../../errno.ts';
import { OpenFile } from '../../file.ts';
import type { Process } from '../../process.ts';
import { POLL_EVENTS } from '../../uapi/bits.ts';
import type { IommufdContext } from '../context.ts';
import type { IommufdObject } from '../objects.ts';

/** What poll says of a queue in which something waits (iommufd_eventq_fops_poll). */
export const READABLE = POLL_EVENTS.POLLIN | POLL_EVENTS.POLLRDNORM;

export abstract class ObjectFile extends OpenFile {
  private readonly _context: IommufdContext;
  private readonly _object: IommufdObject;

  constructor(context: IommufdContext, object: IommufdObject) {
    super();
    this._context = context.get();
    this._object = object;
    object.hold();
  }

  /** What it keeps. */
  get context(): IommufdContext {
    return this._context;
  }
  get object(): IommufdObject {
    return this._object;
  }

  release(): void {
    this._object.drop();
    this._context.put();
  }
}

/** Gives a new object its id, and its file a descriptor. EMFILE: the object is destroyed. */
export function publish(
  context: IommufdContext,
  process: Process,
  object: IommufdObject,
  file: OpenFile,
): { id: number; fd: number } | Refusal {
  const id = context.objects.reserve();
  const fd = process.install(file, true);
  if (fd instanceof Refusal) {
    file.put();
    object.destroy();
    context.objects.abort(id);
    return fd;
  }
  context.objects.commit(id, object);
  return { id, fd };
}
