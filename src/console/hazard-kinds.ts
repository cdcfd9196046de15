/** What the service tells of each kind of hazard: always the same, so it is asked once. */
import type { HazardKind } from '../timeline/page.ts';
import type { Client } from './client.ts';
import { redraw } from './redraw.ts';

let kinds: readonly HazardKind[] = [];

export const hazardKinds = (): readonly HazardKind[] => kinds;

/** What to do about one; null: nothing was told. */
export const adviceOn = (hazard: string): string | null => kinds.find((kind) => kind.hazard === hazard)?.advice ?? null;

export function readHazardKinds(client: Client): void {
  if (kinds.length > 0) return;
  client.whole<HazardKind>('/v1/hazards').then(
    (items) => {
      kinds = items;
      redraw();
    },
    // They are only advice: without them the events say what has happened.
    () => {},
  );
}
