/** The files behind /dev/liveupdate and behind sessions. */
import { Refusal, refuse } from '../errno.ts';
import { type Arg, type IoctlOk, num, OpenFile, u64 } from '../file.ts';
import type { Kernel } from '../kernel.ts';
import type { Process } from '../process.ts';
import { LIVEUPDATE_REQUESTS } from '../uapi/liveupdate.ts';
import type { RequestDescriptor } from '../uapi/types.ts';
import type { OutgoingSession } from './handler.ts';
import type { IncomingSession, LiveUpdate } from './luo.ts';

const numbersOf = (kind: string): ReadonlySet<number> =>
  new Set(LIVEUPDATE_REQUESTS.filter((request) => request.kind === kind).map((request) => request.number & 0xff));
const DEVICE_NUMBERS = numbersOf('liveupdate');
const SESSION_NUMBERS = numbersOf('session');

/** The number is looked at before the type: unknown numbers are EINVAL, known ones of another type ENOTTY. */
function unknown(numbers: ReadonlySet<number>, number: number): Refusal {
  const where = 'luo_ioctl';
  return numbers.has(number & 0xff)
    ? refuse('ENOTTY', where, 'the number is known, but its type is another')
    : refuse('EINVAL', where, 'this descriptor has no request of this number');
}

/** The name up to the first NUL; 64 bytes without one make a name that is too long for any session. */
const nameOf = (arg: Arg): string => String(arg.name ?? '').split('\0', 1)[0]!;

export class LiveUpdateFile extends OpenFile {
  readonly kind = 'liveupdate';
  readonly luo: LiveUpdate;

  constructor(luo: LiveUpdate) {
    super();
    this.luo = luo;
    luo.deviceOpen = true;
  }

  link(): string {
    return '/dev/liveupdate';
  }

  release(): void {
    this.luo.deviceOpen = false;
  }

  override unknownIoctl(number: number): Refusal {
    return unknown(DEVICE_NUMBERS, number);
  }

  override ioctl(kernel: Kernel, process: Process, request: RequestDescriptor, arg: Arg): IoctlOk | Refusal {
    const name = nameOf(arg);
    const session =
      request.name === 'LIVEUPDATE_IOCTL_CREATE_SESSION' ? this.luo.create(name) : this.luo.retrieveSession(name);
    if (session instanceof Refusal) return session;
    const file =
      'state' in session ? new SessionFile(this.luo, null, session) : new SessionFile(this.luo, session, null);
    const fd = process.install(file);
    if (typeof fd === 'number') return { arg: { fd } };
    file.put(kernel);
    return fd;
  }
}

export class SessionFile extends OpenFile {
  readonly kind = 'session';
  readonly luo: LiveUpdate;
  readonly outgoing: OutgoingSession | null;
  readonly incoming: IncomingSession | null;

  constructor(luo: LiveUpdate, outgoing: OutgoingSession | null, incoming: IncomingSession | null) {
    super();
    this.luo = luo;
    this.outgoing = outgoing;
    this.incoming = incoming;
  }

  get name(): string {
    return (this.outgoing ?? this.incoming)!.name;
  }

  link(): string {
    return `anon_inode:[luo_session] ${this.name}`;
  }

  release(): void {
    if (this.outgoing) this.luo.abort(this.outgoing);
    else this.luo.closeIncoming(this.incoming!);
  }

  override unknownIoctl(number: number): Refusal {
    return unknown(SESSION_NUMBERS, number);
  }

  override beforeIoctl(request: RequestDescriptor | null): Refusal | null {
    if (!request) return null;
    const wantsOutgoing = request.name === 'LIVEUPDATE_SESSION_PRESERVE_FD';
    const wantsIncoming =
      request.name === 'LIVEUPDATE_SESSION_RETRIEVE_FD' || request.name === 'LIVEUPDATE_SESSION_FINISH';
    if ((wantsOutgoing && !this.outgoing) || (wantsIncoming && !this.incoming))
      return refuse(
        'EINVAL',
        'luo_session_ioctl',
        `session "${this.name}" is ${this.outgoing ? 'outgoing: it was created in this kernel' : 'incoming: it came from the previous kernel'}`,
      );
    return null;
  }

  override ioctl(kernel: Kernel, process: Process, request: RequestDescriptor, arg: Arg): IoctlOk | Refusal {
    switch (request.name) {
      case 'LIVEUPDATE_SESSION_PRESERVE_FD':
        return this.luo.preserve(this.outgoing!, u64(arg, 'token'), () => process.file(num(arg, 'fd'))) ?? {};
      case 'LIVEUPDATE_SESSION_RETRIEVE_FD': {
        const file = this.luo.retrieve(this.incoming!, u64(arg, 'token'));
        if (file instanceof Refusal) return file;
        const fd = process.install(file);
        if (typeof fd === 'number') return { arg: { fd } };
        file.put(kernel);
        return fd;
      }
      case 'LIVEUPDATE_SESSION_FINISH':
        if (num(arg, 'reserved')) return refuse('EINVAL', 'luo_session_finish', 'reserved must be 0');
        return this.luo.finish(this.incoming!) ?? {};
      default:
        if (num(arg, 'reserved')) return refuse('EINVAL', 'luo_session_get_name', 'reserved must be 0');
        return { arg: { name: this.name } };
    }
  }
}
