/** The files behind /dev/liveupdate and behind sessions. */
import { Refusal, refuse } from '../errno.ts';
import { type Handlers, type IoctlOk, OpenFile } from '../file.ts';
import type { Process } from '../process.ts';
import type { RequestDescriptor, RequestNameOf, RequestTable } from '../uapi/index.ts';
import { LIVEUPDATE_REQUESTS, SESSION_REQUESTS } from '../uapi/liveupdate.ts';
import type { OutgoingSession } from './handler.ts';
import type { IncomingSession, LiveUpdate } from './luo.ts';

const numbersOf = (table: RequestTable): ReadonlySet<number> =>
  new Set(Object.values(table).map(({ number }) => number & 0xff));
const DEVICE_NUMBERS = numbersOf(LIVEUPDATE_REQUESTS);
const SESSION_NUMBERS = numbersOf(SESSION_REQUESTS);

/** The number is looked at before the type: unknown numbers are EINVAL, known ones of another type ENOTTY. */
function unknown(numbers: ReadonlySet<number>, number: number): Refusal {
  const where = 'luo_ioctl';
  return numbers.has(number & 0xff)
    ? refuse('ENOTTY', where, 'the number is known, but its type is another')
    : refuse('EINVAL', where, 'this descriptor has no request of this number');
}

/** The name up to the first NUL; 64 bytes without one make a name that is too long for any session. */
const nameOf = ({ name = '' }: { name: string | undefined }): string => name.split('\0', 1)[0]!;

/** The descriptor of a file that has just been made, in the field `fd`. */
function install(process: Process, file: OpenFile): IoctlOk | Refusal {
  const fd = process.install(file, true);
  if (typeof fd === 'number') return { arg: { fd } };
  file.put();
  return fd;
}

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

  override get handlers(): Handlers<'liveupdate', LiveUpdateFile> {
    return DEVICE_HANDLERS;
  }
}

const DEVICE_HANDLERS: Handlers<'liveupdate', LiveUpdateFile> = {
  LIVEUPDATE_IOCTL_CREATE_SESSION({ luo }, arg, process) {
    const session = luo.create(nameOf(arg));
    return session instanceof Refusal ? session : install(process, new SessionFile(luo, session, null));
  },
  LIVEUPDATE_IOCTL_RETRIEVE_SESSION({ luo }, arg, process) {
    const session = luo.retrieveSession(nameOf(arg));
    return session instanceof Refusal ? session : install(process, new SessionFile(luo, null, session));
  },
};

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
    const side = SIDES[request.name as RequestNameOf<'session'>];
    if (side === 'either' || this[side]) return null;
    return refuse(
      'EINVAL',
      'luo_session_ioctl',
      `session "${this.name}" is ${this.outgoing ? 'outgoing: it was created in this kernel' : 'incoming: it came from the previous kernel'}`,
    );
  }

  override get handlers(): Handlers<'session', SessionFile> {
    return SESSION_HANDLERS;
  }
}

/** Sessions of which side know a request. */
const SIDES: Readonly<Record<RequestNameOf<'session'>, 'outgoing' | 'incoming' | 'either'>> = {
  LIVEUPDATE_SESSION_PRESERVE_FD: 'outgoing',
  LIVEUPDATE_SESSION_RETRIEVE_FD: 'incoming',
  LIVEUPDATE_SESSION_FINISH: 'incoming',
  LIVEUPDATE_SESSION_GET_NAME: 'either',
};

const SESSION_HANDLERS: Handlers<'session', SessionFile> = {
  LIVEUPDATE_SESSION_PRESERVE_FD: ({ luo, outgoing }, { fd, token }, process) =>
    luo.preserve(outgoing!, token, () => process.file(fd)) ?? {},
  LIVEUPDATE_SESSION_RETRIEVE_FD({ luo, incoming }, { token }, process) {
    const file = luo.retrieve(incoming!, token);
    return file instanceof Refusal ? file : install(process, file);
  },
  LIVEUPDATE_SESSION_FINISH({ luo, incoming }, { reserved }) {
    if (reserved) return refuse('EINVAL', 'luo_session_finish', 'reserved must be 0');
    return luo.finish(incoming!) ?? {};
  },
  LIVEUPDATE_SESSION_GET_NAME({ name }, { reserved }) {
    if (reserved) return refuse('EINVAL', 'luo_session_get_name', 'reserved must be 0');
    return { arg: { name } };
  },
};
