/** What a host has done and was: its commands with their answers, and what has changed between two of them. */
import type { Answer, Query, RestoreCommand } from '../host/command.ts';
import type { DiffView, HistoryItem, HistoryView, SnapshotView } from '../host/past-views.ts';
import { LIST_BYTES } from '../limits.ts';
import { newHostView } from './copies.ts';
import { differences } from './differences.ts';
import { fileOf } from './filing.ts';
import { withEarlier, withHazards } from './hazards.ts';
import type { HostFile } from './host-file.ts';
import { now, type Outcome } from './jobs.ts';
import { packLarge } from './large.ts';
import { type Engine, executeStored, type LoadedHost, type Rebuilding, rebuildAt } from './replay.ts';
import { Effort, inSlices, type Pace } from './slices.ts';
import { look } from './work-off.ts';

/** Looks into a host. `stored`: when all that the host holds is stored. */
export type LookInto = (host: LoadedHost, from: Rebuilding, stored: Promise<void>) => Promise<Outcome<Answer>>;

/** What is asked of the past of a host. */
export type PastQuery =
  /** Commands behind one, by their sequence, or from the first that is kept on; `ops`: only these. */
  | { of: 'history'; after?: number; limit: number; ops?: readonly string[]; answers: boolean }
  /** Between what it was behind one command and behind another one; absent: as it is. `after`: so many have been told. */
  | { of: 'diff'; from: number; to?: number; after?: number; limit: number }
  /** All of it, as a file; `contents`: with what is in the memory of programs. */
  | { of: 'file'; contents: boolean }
  /** What was answered to the command of that sequence. */
  | { of: 'answer'; sequence: number }
  /** What the host was when it was made, behind that command: as `Lanes.copy` tells it. */
  | { of: 'beginning'; sequence: number };

/** Whether all of the host is in memory once more for it. */
export const buildsHosts = (query: PastQuery): boolean => query.of !== 'history' || query.answers;

/** The answer; not found where what it would need is not kept any more. `stored`: when all that the host holds is stored. */
export async function lookBack(
  hostId: string,
  host: LoadedHost,
  query: PastQuery,
  from: Rebuilding,
  stored: Promise<void>,
): Promise<Outcome<Answer>> {
  if (query.of === 'answer') {
    const answer = await answerAgain(hostId, query.sequence, host.sequence, from);
    return typeof answer === 'string' ? now({ kind: 'not-found', what: answer }) : packLarge(now(answer), from.pace);
  }
  const found = await find(hostId, host, query, from, stored);
  if (typeof found === 'string') return now({ kind: 'not-found', what: found });
  return await packLarge(now<Answer>({ kind: 'ok', value: found }), from.pace);
}

function find(
  hostId: string,
  host: LoadedHost,
  query: Exclude<PastQuery, { of: 'answer' }>,
  from: Rebuilding,
  stored: Promise<void>,
): Promise<HistoryView | DiffView | HostFile | Beginning | string> {
  switch (query.of) {
    case 'history':
      return history(hostId, host, query, from);
    case 'diff':
      return diff(hostId, host, query, from);
    case 'file':
      return fileOf(hostId, host, query.contents, from, stored);
    case 'beginning':
      return beginningOf(hostId, query.sequence, host.sequence, from);
  }
}

type Beginning = Awaited<ReturnType<typeof newHostView>>;

async function beginningOf(
  hostId: string,
  sequence: number,
  last: number,
  from: Rebuilding,
): Promise<Beginning | string> {
  const host = await rebuildAt(hostId, sequence, last, from);
  return typeof host === 'string' ? host : await newHostView(host.engine, from.pace);
}

/** The answer to a command, as it was given; or what it would need and is not there. */
async function answerAgain(hostId: string, sequence: number, last: number, from: Rebuilding): Promise<Answer | string> {
  const host = await rebuildAt(hostId, sequence - 1, last, from);
  if (typeof host === 'string') return host;
  const effort = new Effort(from.pace, () => {});
  let given: Answer | null = null;
  for (let at = sequence - 1; ; ) {
    const read = await from.store.journal.read(hostId, at);
    if (read.length === 0) return given ?? `command ${sequence}`;
    for (const stored of read) {
      at = stored.sequence;
      if (stored.damaged !== undefined) return `command ${at}: ${stored.damaged}`;
      const { answer, events, digest } = await executeStored(hostId, host, stored, from, effort, true);
      if (digest !== stored.digest) return `answer to command ${at} any more: this version has another one`;
      const told = withHazards(answer, at, events);
      const isReboot = (JSON.parse(stored.command) as { op: string }).op === 'kexec.freeze';
      if (given === null && !isReboot) return told;
      // It is answered when the next kernel has booted; until then the hardware goes on.
      if (!host.engine.pendingBoot) return given === null ? told : withEarlier(told, given);
      given ??= told;
    }
  }
}

async function history(
  hostId: string,
  { sequence: last }: LoadedHost,
  { after: given, limit, ops, answers }: Extract<PastQuery, { of: 'history' }>,
  from: Rebuilding,
): Promise<HistoryView | string> {
  const { store, pace } = from;
  const after = given ?? ((await store.journal.read(hostId, 0))[0]?.sequence ?? last + 1) - 1;
  const again = answers ? await rebuildAt(hostId, after, last, from) : null;
  if (typeof again === 'string') return again;
  const effort = new Effort(pace, () => {});
  const items: HistoryItem[] = [];
  let size = 0;
  let at = after;
  while (at < last) {
    const read = await store.journal.read(hostId, at);
    if (read.length === 0 || (at === after && read[0]!.sequence !== after + 1))
      return `command ${after + 1} any more: the first that is kept is ${read[0]?.sequence ?? last + 1}`;
    for (const stored of read) {
      const { sequence } = stored;
      if (sequence > last) break;
      at = sequence;
      if (stored.damaged !== undefined) return `command ${sequence}: ${stored.damaged}`;
      const done = again && (await executeStored(hostId, again, stored, from, effort));
      const command = JSON.parse(stored.command) as { op: string };
      if (ops !== undefined && !ops.includes(command.op)) continue;
      const item = { sequence, op: command.op, command, payload: stored.payload?.byteLength ?? 0 };
      items.push(done ? { ...item, answer: done.answer, events: done.events.length } : item);
      size += stored.command.length + (done ? JSON.stringify(done.answer).length : 0);
      if (items.length < limit && size < LIST_BYTES) continue;
      return { items, nextPageToken: at < last ? String(at) : null };
    }
    if (effort.isOver) await effort.pause();
    effort.resume();
  }
  return { items, nextPageToken: null };
}

async function diff(
  hostId: string,
  host: LoadedHost,
  { from: first, to = host.sequence, after: told = 0, limit }: Extract<PastQuery, { of: 'diff' }>,
  from: Rebuilding,
): Promise<DiffView | string> {
  const before = await rebuildAt(hostId, first, host.sequence, from);
  if (typeof before === 'string') return before;
  const after = to === host.sequence ? host : await rebuildAt(hostId, to, host.sequence, from);
  if (typeof after === 'string') return after;
  const found = differences(await allOf(before, from.pace), await allOf(after, from.pace), limit + 1, told);
  const changes = found.slice(0, limit);
  return { from: first, to, changes, nextPageToken: found.length > limit ? String(told + limit) : null };
}

/** What the host was when a snapshot was taken, as the command that brings it back; or what is not there. */
export async function snapshotOf(
  hostId: string,
  host: LoadedHost,
  name: string,
  from: Rebuilding,
): Promise<{ command: RestoreCommand; engine: Engine; bytes: Uint8Array } | string> {
  const answer = (await look(host.engine, { view: 'snapshots' }, from.pace)) as { value: SnapshotView[] };
  const known = answer.value.find((one) => one.name === name);
  if (known === undefined) return `snapshot ${name}`;
  const { sequence } = known;
  const past = await rebuildAt(hostId, sequence, host.sequence, from);
  if (typeof past === 'string') return past;
  const { engine, bytes } = await inSlices(past.engine.snapshot!(), from.pace);
  return { command: { op: 'restore', name, sequence, engine }, engine: past.engine, bytes };
}

type Json = Record<string, unknown>;

/** What there is on a host, in the terms of its kernel: as its views tell it, by what each thing is called. */
async function allOf({ engine }: LoadedHost, pace: Pace): Promise<Json> {
  const ask = async <T>(query: Query): Promise<T | null> => {
    const answer = await look(engine, query, pace);
    return answer.kind === 'ok' ? (answer.value as T) : null;
  };
  const by = (items: Json[] | null, key: string): Json =>
    Object.fromEntries((items ?? []).map((item) => [String(item[key]), item]));
  const processes = (await ask<Json[]>({ view: 'processes' })) ?? [];
  for (const process of processes) {
    const pid = Number(process.pid);
    const descriptors = by(process.descriptors as Json[], 'fd');
    for (const [fd, descriptor] of Object.entries(descriptors))
      if ((descriptor as Json).kind === 'iommufd')
        (descriptor as Json).iommufd = await iommufdOf(pid, Number(fd), ask, by);
    process.descriptors = descriptors;
    process.memory = by(process.memory as Json[], 'address');
  }
  const { time: _time, ...host } = (await ask<Json>({ view: 'host' })) ?? {};
  return {
    host,
    devices: by(await ask({ view: 'devices' }), 'bdf'),
    groups: by(await ask({ view: 'groups' }), 'group'),
    domains: by(await ask({ view: 'domains' }), 'id'),
    sessions: by(await ask({ view: 'sessions' }), 'name'),
    processes: by(processes, 'pid'),
  };
}

async function iommufdOf(
  pid: number,
  fd: number,
  ask: <T>(query: Query) => Promise<T | null>,
  by: (items: Json[] | null, key: string) => Json,
): Promise<Json> {
  const { objects, ioases, ...rest } = (await ask<{ objects: Json[]; ioases: number[] }>({
    view: 'iommufd',
    pid,
    fd,
  })) ?? {
    objects: [],
    ioases: [],
  };
  const each: Json = {};
  for (const ioas of ioases) each[ioas] = await ask({ view: 'ioas', pid, fd, ioas });
  return { ...rest, objects: by(objects, 'id'), ioases: each };
}
