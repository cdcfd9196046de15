/** How a host that an earlier version stored becomes one of this version. */
import type { EmittedEvent } from '../../command.ts';
import type { StateGraph } from '../graph.ts';

export interface Upgrade {
  /** Versions of the engine: that which stored the host, and that which the step makes of it. */
  readonly from: string;
  readonly to: string;
  /** Changes the graph. What comes out of it, and is part of a host no more, are events. */
  step(graph: StateGraph): EmittedEvent[] | undefined;
}

/** The steps from one version to another in their order, each beginning where the one before ends; null: there is no way. */
export function wayOf(upgrades: readonly Upgrade[], from: string, to: string): Upgrade[] | null {
  const way: Upgrade[] = [];
  for (let at = from; at !== to; ) {
    const next = upgrades.find((upgrade) => upgrade.from === at && !way.includes(upgrade));
    if (next === undefined) return null;
    way.push(next);
    at = next.to;
  }
  return way;
}
