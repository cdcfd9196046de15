/** The event log of a host, as far as scenarios look at it. */
import type { Client, ScenarioHost } from './client.ts';

export interface LoggedEvent {
  readonly id: string;
  readonly kernel: number;
  readonly kind: string;
  readonly severity: string;
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** How many of the last events a failure shows. */
const SHOWN = 100;
const PAGE = 1000;

/** Those after the event of this id, to the end of the log. */
export async function eventsAfter(client: Client, host: ScenarioHost, after: string): Promise<LoggedEvent[]> {
  const events: LoggedEvent[] = [];
  for (let token: string | null = after; token !== null; ) {
    const page = (await client.look(host, `/events?limit=${PAGE}&after=${token}`)) as {
      items?: LoggedEvent[];
      nextPageToken?: string | null;
    };
    events.push(...(page.items ?? []));
    token = page.nextPageToken ?? null;
  }
  return events;
}

/** A line for each of the last ones, as the README prints them. */
export const timelineOf = (events: readonly LoggedEvent[]): string[] =>
  events.slice(-SHOWN).map(({ kernel, kind, message }) => `kernel ${kernel}  ${kind}  ${message}`);

/** As expectations see it: the fields of its data beside its own. */
export const flat = ({ kind, kernel, severity, message, data }: LoggedEvent): Record<string, unknown> => ({
  ...data,
  kind,
  kernel,
  severity,
  message,
});
