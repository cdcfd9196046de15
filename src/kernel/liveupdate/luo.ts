/**
 * The Live Update Orchestrator (kernel/liveupdate/luo_{core,session,file}.c).
 *
 *   outgoing: CREATE -> open -> (reboot) -> incoming in the next kernel;  last close -> everything unpreserved
 *   incoming: waiting -> RETRIEVE_SESSION -> retrieved -> FINISH, close -> gone;  close refused -> stuck until reboot
 */

import { hex } from '../../machine/address.ts';
import { Refusal, refuse } from '../errno.ts';
import type { EventDataOf } from '../events.ts';
import type { OpenFile } from '../file.ts';
import type { FileRecord, HandoverDocument } from '../kho/handover.ts';
import { LazyMap } from '../lazy-map.ts';
import type {
  AnyFileHandler,
  IncomingFile,
  LiveUpdateKernel,
  Offer,
  OutgoingFile,
  OutgoingSession,
} from './handler.ts';

/** 51 sessions, or 63 files of one session, per page-sized block, and at most 10000 blocks. */
const MAX_SESSIONS = 51 * 10000;
const MAX_FILES = 63 * 10000;

export interface IncomingSession {
  name: string;
  files: IncomingFile[];
  state: 'waiting' | 'retrieved' | 'stuck';
}

/** What is told of a file in a session. */
type FileEvent = `luo.${'preserve' | 'unpreserve' | 'freeze' | 'unfreeze' | 'retrieve' | 'finish'}`;

export class LiveUpdate {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _names: () => null, _incomingNames: () => null, _tokens: () => null };

  private readonly _kernel: LiveUpdateKernel;
  private readonly _handlers: readonly AnyFileHandler[];
  readonly outgoing: OutgoingSession[] = [];
  /**
   * Sessions of the previous kernel: none until the device is opened for the first time, which deserializes them all.
   */
  incoming: IncomingSession[] = [];
  private _records: HandoverDocument['luo']['sessions'];
  private _deserialized: 'not-yet' | 'done' | 'failed' = 'not-yet';
  /** Objects in a session of this kernel, and retrieved ones that are not finished: identity to who has it. */
  private readonly _preserved = new LazyMap<object, string>();
  /** Outgoing and incoming sessions by name; null: not asked for yet. */
  private _names: Map<string, OutgoingSession> | null = null;
  private _incomingNames: Map<string, IncomingSession> | null = null;
  /** The files of sessions by token, of those whose tokens were asked for. */
  private _tokens: WeakMap<OutgoingSession | IncomingSession, Map<bigint, OutgoingFile | IncomingFile>> | null = null;
  readonly number: number;
  /** /dev/liveupdate is open. */
  deviceOpen = false;

  constructor(kernel: LiveUpdateKernel, handlers: readonly AnyFileHandler[], incoming: HandoverDocument['luo'] | null) {
    this._kernel = kernel;
    // Without the room that a list has which has grown.
    this._handlers = handlers.slice();
    this._records = incoming?.sessions ?? [];
    this.number = incoming?.number ?? 0;
  }

  /** Objects in a session of this kernel, and retrieved ones that are not finished, and who has them. */
  get holders(): ReadonlyMap<object, string> {
    return this._preserved;
  }

  /** The session that an object is in, of this kernel or of the one before; null: in none, or it is finished. */
  sessionOf(identity: object): string | null {
    const holder = this._preserved.get(identity);
    return holder === undefined ? null : holder.slice(holder.indexOf('"') + 1, holder.lastIndexOf('"'));
  }

  /** Whether there is a handler for each file that was handed over: where one is missing, none can be had. */
  get readsAll(): boolean {
    const known = new Set(this._handlers.map(({ compatible }) => compatible));
    return this._records.every(({ files }) => files.every(({ compatible }) => known.has(compatible)));
  }

  /** Sessions of the previous kernel that are not finished, whether the device was opened or not. A finished one has no files. */
  get unfinished(): string[] {
    const isRead = this._deserialized === 'done';
    const lost = isRead ? this.incoming.filter(({ files }) => files.length > 0) : this._records;
    return lost.map(({ name }) => name);
  }

  /** Names of sessions that the first open will bring, for views. */
  get waitingRecords(): readonly { name: string; files: FileRecord[] }[] {
    return this._deserialized === 'not-yet' ? this._records : [];
  }

  /** The first open of the device makes incoming sessions of the records; EIO for ever if a handler is missing. */
  deserialize(): Refusal | null {
    const where = 'luo_session_deserialize';
    if (this._deserialized === 'not-yet') {
      this._deserialized = 'done';
      for (const record of this._records) {
        const session: IncomingSession = { name: record.name, files: [], state: 'waiting' };
        this.incoming.push(session);
        for (const { token, compatible, data } of record.files) {
          const handler = this._handlers.find((candidate) => candidate.compatible === compatible);
          const file = handler?.receive(BigInt(token), data);
          if (!file) {
            this._deserialized = 'failed';
            const why = handler ? `token ${token} is no file` : 'no handler';
            this._kernel.emit(
              'luo.failed',
              `${why} for "${compatible}" of session "${record.name}": nothing can be restored until the next reboot`,
              {
                session: record.name,
                handler: compatible,
              },
            );
            break;
          }
          session.files.push(file);
        }
        if (this._deserialized === 'failed') break;
      }
      if (this._deserialized === 'failed')
        for (const { name } of this._records) this._kernel.restored.sessionLost(name, 'session-failed');
    }
    if (this._deserialized === 'done') return null;
    return refuse('EIO', where, 'the handover of the previous kernel could not be read; only a reboot helps');
  }

  /** CREATE_SESSION: EINVAL name, ENOSPC, EEXIST. */
  create(name: string): OutgoingSession | Refusal {
    const where = 'luo_session_create';
    if (name.length === 0 || name.length > 63)
      return refuse('EINVAL', where, 'a session name has 1 to 63 bytes and a terminating NUL');
    const injected = this._kernel.faults.refusal('session.create', where);
    if (injected) return injected;
    if (this.outgoing.length >= MAX_SESSIONS) return refuse('ENOSPC', where, 'there are too many sessions');
    this._names ??= new Map(this.outgoing.map((session) => [session.name, session]));
    if (this._names.has(name)) return refuse('EEXIST', where, 'an outgoing session of this name exists');
    const session: OutgoingSession = { name, files: [] };
    this.outgoing.push(session);
    this._names.set(name, session);
    this._kernel.emit('luo.session', `session "${name}" is created`, { session: name });
    return session;
  }

  /** RETRIEVE_SESSION: ENOENT, EINVAL retrieved already. */
  retrieveSession(name: string): IncomingSession | Refusal {
    const where = 'luo_session_retrieve';
    // Of several of one name the first one is found.
    this._incomingNames ??= new Map(this.incoming.toReversed().map((session) => [session.name, session]));
    const session = this._incomingNames.get(name);
    if (!session)
      return refuse(
        'ENOENT',
        where,
        `no session "${name}" came from the previous kernel, or it was finished and closed`,
      );
    if (session.state === 'stuck')
      return refuse(
        'EINVAL',
        where,
        `session "${name}" was closed before it could finish: it is out of reach until the next reboot`,
        'R4',
      );
    if (session.state !== 'waiting') return refuse('EINVAL', where, `session "${name}" is retrieved already`);
    session.state = 'retrieved';
    this._kernel.emit('luo.session', `session "${name}" is retrieved`, { session: name });
    return session;
  }

  /** PRESERVE_FD after its token check: ENOSPC, EBADF (by the caller), ENOENT no handler, EBUSY, the handler's errno. */
  preserve(session: OutgoingSession, token: bigint, lookup: () => OpenFile | Refusal): Refusal | null {
    const where = 'luo_preserve_file';
    const tokens = this._tokensOf(session);
    if (tokens.has(token)) return refuse('EEXIST', where, `token ${hex(token)} is in use in session "${session.name}"`);
    if (session.files.length >= MAX_FILES) return refuse('ENOSPC', where, 'the session has too many files');
    const file = lookup();
    if (file instanceof Refusal) return file;
    const offer = this._offerFor(file);
    if (typeof offer === 'string') return refuse('ENOENT', where, `nothing can preserve ${file.link()}: ${offer}`);
    const { handler, identity } = offer;
    const holder = this._preserved.get(identity);
    if (holder !== undefined) return refuse('EBUSY', where, `it is in ${holder} already`);
    const injected =
      this._kernel.faults.refusal('session.preserve', where) ??
      this._kernel.faults.refusal(`${handler.point}.preserve`, where);
    if (injected) return injected;
    const entry = offer.preserve(session, token);
    if (entry instanceof Refusal) return entry;
    file.get();
    session.files.push(entry);
    tokens.set(token, entry);
    this._preserved.set(identity, `session "${session.name}"`);
    this._log('luo.preserve', session.name, entry);
    return null;
  }

  /** How a handler can preserve a file, or why none can. */
  private _offerFor(file: OpenFile): Offer | string {
    let why = `this kernel has handlers of ${this._handlers.map(({ compatible }) => compatible).join(', ') || 'nothing'}`;
    for (const handler of this._handlers) {
      const offer = handler.offer(this._kernel, file);
      if (typeof offer === 'string') why = offer;
      else if (offer) return offer;
    }
    return why;
  }

  /** The last descriptor of an outgoing session is closed: the abort, newest file first (R21). */
  abort(session: OutgoingSession): void {
    for (const entry of session.files.reverse()) {
      this._preserved.delete(entry.identity);
      entry.unpreserve(this._kernel);
      this._log('luo.unpreserve', session.name, entry);
      entry.file.put();
    }
    remove(this.outgoing, session);
    this._names?.delete(session.name);
  }

  /** RETRIEVE_FD: ENOENT, a sticky errno, or the file with a reference for the caller. */
  retrieve(session: IncomingSession, token: bigint): OpenFile | Refusal {
    const where = 'luo_retrieve_file';
    const entry = this._tokensOf(session).get(token);
    if (!entry) return refuse('ENOENT', where, `session "${session.name}" has no token ${hex(token)}`);
    if (entry.failed)
      return refuse(
        entry.failed,
        where,
        `the first attempt has failed, and that is final: token ${hex(token)} answers so until the next reboot, whatever is done`,
        entry.handler.point === 'vfio' ? 'R17' : undefined,
      );
    if (entry.file) return entry.file.get();
    const file =
      this._kernel.faults.refusal(`${entry.handler.point}.retrieve`, where) ??
      entry.retrieve(this._kernel, session.name);
    if (file instanceof Refusal) {
      entry.failed = file.errno;
      entry.retrieveFailed(this._kernel, session.name);
      const { errno, rule } = file;
      const why = `${file.why}. This was the only attempt: token ${hex(token)} answers so until the next reboot`;
      const final = refuse(errno, file.where, why, rule);
      return file.fault === undefined ? final : final.by(file.fault);
    }
    this._preserved.set(entry.identity!, `session "${session.name}", which is not finished`);
    this._log('luo.retrieve', session.name, entry);
    return file.get();
  }

  /** FINISH: EBUSY with nothing done, or every file finished, newest first. */
  finish(session: IncomingSession): Refusal | null {
    for (const entry of session.files) {
      const refusal = entry.canFinish(this._kernel);
      if (refusal) return refusal;
    }
    this._tokens?.delete(session);
    for (const entry of session.files.splice(0).reverse()) {
      entry.finish(this._kernel);
      this._log('luo.finish', session.name, entry);
      if (!entry.file) continue;
      this._preserved.delete(entry.identity!);
      entry.file.put();
    }
    return null;
  }

  /** The last descriptor of an incoming session is closed: finish, or stuck (R4). */
  closeIncoming(session: IncomingSession): void {
    const refusal = this.finish(session);
    if (!refusal) {
      // Of several of one name the next one is found from now on.
      if (this._incomingNames?.size === this.incoming.length) this._incomingNames.delete(session.name);
      else this._incomingNames = null;
      remove(this.incoming, session);
      return;
    }
    session.state = 'stuck';
    const { name } = session;
    const what = `session "${name}" was closed with files that cannot finish: nobody can reach it before the next reboot`;
    this._kernel.emit('luo.stuck', what, { session: name }, 'R4');
    this._kernel.emit('hazard', what, { hazard: 'session-stuck', session: name }, 'R4');
    this._kernel.restored.sessionLost(name, 'session-stuck');
  }

  /**
   * reboot(KEXEC): freezes all outgoing sessions in order. The first error undoes it: the failing session's earlier
   * files forward, then earlier sessions, newest first, each forward (R22).
   */
  freeze(): Refusal | null {
    const frozen: OutgoingSession[] = [];
    for (const session of this.outgoing) {
      for (const [index, entry] of session.files.entries()) {
        this._log('luo.freeze', session.name, entry);
        const refusal =
          this._kernel.faults.refusal(`${entry.handler.point}.freeze`, 'luo_file_freeze') ?? entry.freeze(this._kernel);
        if (!refusal) continue;
        for (const undo of session.files.slice(0, index)) this._log('luo.unfreeze', session.name, undo);
        for (const earlier of frozen.reverse())
          for (const undo of earlier.files) this._log('luo.unfreeze', earlier.name, undo);
        return refusal;
      }
      frozen.push(session);
    }
    return null;
  }

  serialize(): HandoverDocument['luo']['sessions'] {
    return this.outgoing.map((session) => ({
      name: session.name,
      files: session.files.map((entry) => ({
        token: hex(entry.token),
        compatible: entry.handler.compatible,
        data: entry.serialize(),
      })),
    }));
  }

  /** The files of a session by token; of several the first one. */
  private _tokensOf<File extends OutgoingFile | IncomingFile>(
    session: { files: File[] } & (OutgoingSession | IncomingSession),
  ): Map<bigint, File> {
    this._tokens ??= new WeakMap();
    let tokens = this._tokens.get(session);
    if (!tokens) {
      tokens = new Map(session.files.toReversed().map((file) => [file.token, file]));
      this._tokens.set(session, tokens);
    }
    return tokens as Map<bigint, File>;
  }

  private _log(kind: FileEvent, session: string, entry: { token: bigint; handler: AnyFileHandler }): void {
    const data: EventDataOf<FileEvent> = { session, token: hex(entry.token), handler: entry.handler.compatible };
    this._kernel.emit(kind, `${kind.slice(4)} token ${data.token} (${data.handler}) of session "${session}"`, data);
  }
}

/** Most sessions go as they have come, or the last one first: nothing has to be looked for then, however many there are. */
function remove<T>(list: T[], item: T): void {
  if (list[0] === item) list.shift();
  else if (list.at(-1) === item) list.pop();
  else list.splice(list.indexOf(item), 1);
}
