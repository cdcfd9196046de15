/** Events as the API shows them, wherever they stand. */
import type { HostEvent } from '../host/views.ts';
import { EVENTS, severityOf } from '../kernel/events.ts';
import type { EventId, StoredEvent } from '../store/store.ts';
import { Problem } from './problems.ts';

export const idOf = ({ sequence, index }: EventId): string => `${sequence}-${index}`;

export function eventView({ sequence, index, time, kernel, kind, message, data }: StoredEvent): HostEvent {
  // One of an earlier version has no checksum that would have told.
  if (!Object.hasOwn(EVENTS, kind))
    throw new Problem('damaged', `Event ${sequence}-${index} is none of those that there are: read on behind it.`);
  const severity = severityOf(kind, data);
  return { id: idOf({ sequence, index }), sequence, index, time, kernel, kind, severity, message, data };
}
