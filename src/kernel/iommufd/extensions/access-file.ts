/** The descriptor of an access: it numbers the pins, and closing it ends the access. */
import { type Refusal, refuse } from '../../errno.ts';
import { OpenFile } from '../../file.ts';
import type { Kernel } from '../../kernel.ts';
import type { FrameSpan } from '../../mm/frame-map.ts';
import type { Process } from '../../process.ts';
import type { Access, Pin } from './access.ts';

const PAGE = 4096n;

export class AccessFile extends OpenFile {
  readonly kind = 'access';
  readonly access: Access;
  /** Pins by number; those that ended by themselves may still be in it. */
  readonly #pins = new Map<number, Pin>();
  #next = 0;

  constructor(access: Access) {
    super();
    this.access = access;
    access.context.get();
  }

  link(): string {
    return 'anon_inode:[iommufd_test_staccess]';
  }

  release(kernel: Kernel): void {
    const { context } = this.access;
    this.access.close();
    context.put(kernel);
  }

  /** Answers the number of the pin. */
  add(pin: Pin): number {
    this.#pins.set(this.#next, pin);
    return this.#next++;
  }

  /** ENOENT: no such pin, or it has ended. */
  remove(number: number): Refusal | null {
    const pin = this.#pins.get(number);
    this.#pins.delete(number);
    if (!pin || !this.access.has(pin))
      return refuse('ENOENT', 'iommufd_test_access_item_destroy', `there is no pin ${number}, or it has ended`);
    this.access.unpin(pin);
    return null;
  }
}

/** EBADE unless the process has these very pages at this address; EFAULT where it has none. */
export function pagesAt({ mm }: Process, address: bigint, frames: readonly FrameSpan[]): Refusal | null {
  let page = Number(address / PAGE);
  for (const { frame, count } of frames)
    for (let index = 0; index < count; index++, page++) {
      const found = mm.resolve(page, page, false);
      if (!Array.isArray(found)) return found;
      if (found[0]!.frame !== frame + index)
        return refuse('EBADE', 'iommufd_test_check_pages', 'the process has other pages there');
    }
  return null;
}
