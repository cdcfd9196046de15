/** What the events of a host say about its sessions: each a bracket, from the kernel that made it to the one that ends it. */
import type { HostEvent } from '../host/views.ts';

export interface SessionMark {
  readonly step: number;
  readonly what: 'preserve' | 'retrieve' | 'finish' | 'hazard';
  readonly event: HostEvent;
}

export interface SessionRow {
  readonly name: string;
  readonly from: number;
  /** Behind the last step; null: it is not over. */
  to: number | null;
  /** How it is over; `undone`: the host has gone back; `stuck`: it is not over, but nobody can reach it. */
  end: 'finished' | 'closed' | 'lost' | 'undone' | 'stuck' | null;
  /** Between these steps it waits to be retrieved; the second is null as long as it does. */
  waiting: { readonly from: number; to: number | null } | null;
  readonly marks: SessionMark[];
  hasFiles: boolean;
  /** It does not begin here: the host has gone back to when it was there. */
  readonly isBack: boolean;
}

/** Behind these nothing of a session is left, as far as events tell. */
const ENDS_ALL: ReadonlySet<HostEvent['kind']> = new Set(['crash', 'reset', 'power-loss', 'boot.cold']);

/** Reads events in their order. */
export class Sessions {
  readonly rows: SessionRow[] = [];

  read(step: number, event: HostEvent): void {
    const { kind, data } = event;
    if (kind === 'kexec') this.#kexec(step, data.mode === 'live-update');
    if (ENDS_ALL.has(kind)) this.#endAll(step);
    if (typeof data.session === 'string') this.#readSession(step, data.session, event);
  }

  #readSession(step: number, name: string, event: HostEvent): void {
    const { kind, data } = event;
    const row = this.#row(step, name, kind);
    switch (kind) {
      case 'luo.session':
        if (row.waiting !== null && row.waiting.to === null) row.waiting.to = step;
        break;
      case 'luo.preserve':
        row.marks.push({ step, what: 'preserve', event });
        row.hasFiles = true;
        break;
      case 'luo.retrieve':
        row.marks.push({ step, what: 'retrieve', event });
        break;
      case 'luo.finish':
        row.marks.push({ step, what: 'finish', event });
        end(row, step, 'finished');
        break;
      case 'luo.unpreserve':
        end(row, step, 'closed');
        break;
      case 'luo.stuck':
        row.end = 'stuck';
        break;
      case 'luo.failed':
      case 'hazard':
        row.marks.push({ step, what: 'hazard', event });
        if (data.hazard === 'session-lost') end(row, step, 'lost');
        break;
    }
  }

  /** The one of this name that is not over, or was by this very step; else it begins here. */
  #row(step: number, name: string, kind: HostEvent['kind']): SessionRow {
    const found = this.rows.findLast((row) => row.name === name);
    if (found !== undefined && (found.to === null || kind !== 'luo.session')) return found;
    const row: SessionRow = {
      name,
      from: step,
      to: null,
      end: null,
      waiting: null,
      marks: [],
      hasFiles: false,
      isBack: false,
    };
    this.rows.push(row);
    return row;
  }

  /** The host has gone back to what it was behind so many steps; null: to what no step tells. */
  goBack(step: number, to: number | null): void {
    const wereOpen = this.rows.filter((row) => to !== null && row.from < to && (row.to === null || row.to > to));
    for (const row of this.rows) if (row.to === null) end(row, step - 1, 'undone');
    for (const { name, waiting, hasFiles } of wereOpen) {
      const waited = waiting !== null && waiting.from < to!;
      const isWaiting = waited && (waiting.to === null || waiting.to >= to!);
      const again = waited ? { from: step, to: isWaiting ? null : step } : null;
      this.rows.push({ name, from: step, to: null, end: null, waiting: again, marks: [], hasFiles, isBack: true });
    }
  }

  /** What has come from the kernel before ends with this one, and what holds nothing goes nowhere. */
  #kexec(step: number, isLive: boolean): void {
    for (const row of this.rows) {
      if (row.to !== null) continue;
      if (isLive && row.waiting === null && row.hasFiles) row.waiting = { from: step, to: null };
      else end(row, step, 'lost');
    }
  }

  #endAll(step: number): void {
    for (const row of this.rows) if (row.to === null) end(row, step, 'lost');
  }
}

function end(row: SessionRow, step: number, how: SessionRow['end']): void {
  row.to = step + 1;
  row.end = how;
  if (row.waiting !== null) row.waiting.to ??= step;
}
