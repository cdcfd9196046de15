/** How a lane fails where the fault is ours. (A store that does not answer is StoreUnavailable.) */

/** A bug met while a host worked: nothing was stored, and the host goes on from what is stored. */
export class HostFault extends Error {
  override readonly name = 'HostFault';
  /** Names the entry of the log that has the details. */
  readonly incident: string;

  constructor(incident: string, cause: unknown) {
    super(`the host failed inside; incident ${incident}`, { cause });
    this.incident = incident;
  }
}
