/** What the views of a host are given to show. */
import type { DeviceView, EngineView } from '../host/views.ts';
import type { Acting } from './acting.ts';
import type { Answers } from './answers.ts';
import type { HostNow } from './live-host.ts';

export interface Seen {
  /** The id of the host, whatever copy of it is looked at. */
  readonly id: string;
  readonly host: HostNow;
  /** What is looked at: the host, or a copy of it as it was. */
  readonly answers: Answers;
  readonly devices: readonly DeviceView[];
  readonly engines: readonly EngineView[];
  readonly acting: Acting;
  /** It is looked at as it was: nothing can be done. */
  readonly isPast: boolean;
}
