/** How a lane fails where the fault is ours. */
import { makeStoreError } from '../store/errors.ts';
import type { MakeError } from '../threads/errors.ts';

export { AnswerLost, ThreadDied } from '../threads/errors.ts';

/** A bug met while a host worked: nothing was stored, and the host goes on from what is stored. */
export class HostFault extends Error {
  override readonly name = 'HostFault';
  /** Names the entry of the log that has the details. */
  readonly incident: string;

  constructor(incident: string, cause?: unknown) {
    super(`the host failed inside; incident ${incident}`, { cause });
    this.incident = incident;
  }
}

/** What is stored of the host is damaged. Nothing has happened, and trying again does not help; the message says what to do. */
export class HostDamaged extends Error {
  override readonly name = 'HostDamaged';
}

/** The host has ended the thread that ran it, and is not run until somebody asks for that. Nothing has happened. */
export class HostSetAside extends Error {
  override readonly name = 'HostSetAside';
}

/** The work was not begun, or ended between two slices: nothing of it has happened. */
export class GivenUp extends Error {
  override readonly name: string = 'GivenUp';
}

/** The host is not at any of the sequences that were asked for. */
export class HostChanged extends GivenUp {
  override readonly name = 'HostChanged';
  /** Where it is. */
  readonly sequence: number;

  constructor(sequence: number) {
    super(String(sequence));
    this.sequence = sequence;
  }
}

/** Too much waits already, or is in memory. */
export class LaneBusy extends GivenUp {
  override readonly name = 'LaneBusy';
}

/** The host has become too large for this lane, and is run in that of large hosts from now on, where it is to be asked again. */
export class HostMoves extends GivenUp {
  override readonly name = 'HostMoves';

  constructor() {
    super('the host moves to the lane of large hosts');
  }
}

/** Nobody waits for the answer any more. */
export class ClientGone extends GivenUp {
  override readonly name = 'ClientGone';

  constructor() {
    super('nobody waits for the answer any more');
  }
}

/** It would take longer than a command may; the message says how long that is. */
export class TooCostly extends GivenUp {
  override readonly name = 'TooCostly';
}

/** Its answer would be larger than one may be; the message says how large that is. */
export class AnswerTooLarge extends GivenUp {
  override readonly name = 'AnswerTooLarge';
}

export class ServiceStopping extends GivenUp {
  override readonly name = 'ServiceStopping';

  constructor() {
    super('the service is stopping');
  }
}

/** Those with which a lane answers, as they arrive from its thread. */
export const makeLaneError: MakeError = (sent) => {
  if (sent.name === 'HostFault') return new HostFault(sent.incident ?? '');
  if (sent.name === 'HostDamaged') return new HostDamaged(sent.message);
  if (sent.name === 'HostSetAside') return new HostSetAside(sent.message);
  if (sent.name === 'HostChanged') return new HostChanged(Number(sent.message));
  if (sent.name === 'LaneBusy') return new LaneBusy(sent.message);
  if (sent.name === 'ClientGone') return new ClientGone();
  if (sent.name === 'TooCostly') return new TooCostly(sent.message);
  if (sent.name === 'AnswerTooLarge') return new AnswerTooLarge(sent.message);
  if (sent.name === 'ServiceStopping') return new ServiceStopping();
  return makeStoreError(sent);
};
