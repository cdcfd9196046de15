/** How often what happened: errnos by request, and states by sequence. */

import { PAGE } from './model/base.ts';
import type { Domain } from './model/ioas.ts';
import type { Model } from './model.ts';

/** Every errno of the uAPI that calls of the sequences can meet. */
const ERRNOS = [
  'EPERM',
  'ENOENT',
  'E2BIG',
  'EBADF',
  'ENOMEM',
  'EFAULT',
  'EBUSY',
  'EEXIST',
  'ENODEV',
  'EINVAL',
  'ENOTTY',
  'ENOSPC',
  'EOVERFLOW',
  'EMSGSIZE',
  'EOPNOTSUPP',
  'EADDRINUSE',
  'EBADFD',
] as const;

const ATTACHED = 'a domain with mappings is attached to a device';

const STATES: Readonly<Record<string, (model: Model) => boolean>> = {
  [ATTACHED]: (model) => domainsInUse(model).some(({ table }) => table.size > 0),
  'a domain with mappings has no device': (model) =>
    domains(model).some((domain) => domain.table.size > 0 && !domainsInUse(model).includes(domain)),
  'an IOAS has several domains': (model) => [...model.ioases()].some(({ hwpts }) => hwpts.length > 1),
  'an IOAS has both kinds of page table': (model) =>
    [...model.ioases()].some(({ space }) => new Set(space.domains.map(({ unit }) => unit)).size > 1),
  'an automatic HWPT has several devices': (model) =>
    attachments(model).some(({ hwpt }, _, all) => hwpt.auto && all.filter((other) => other.hwpt === hwpt).length > 1),
  'a group has two devices attached': (model) => attachments(model).some(({ devices }) => devices.length > 1),
  'an allowed list is in force': (model) => [...model.ioases()].some(({ space }) => space.allowed.length > 0),
  'an IOAS has huge pages off': (model) => [...model.ioases()].some(({ space }) => !space.hugePages),
  'areas share their pages': (model) =>
    [...model.ioases()].some(({ space: { areas } }) => new Set(areas.map(({ pages }) => pages)).size < areas.length),
  'a domain maps memory of a file': (model) => mapped(model, (source) => source === 'file'),
  'a domain maps half pages': (model) => leafOf(model, (bytes) => bytes < PAGE),
  'a domain has leaves above 4 KiB': (model) => leafOf(model, (bytes) => bytes > PAGE),
  'dirty bits are set': (model) =>
    domains(model).some(({ table }) => [...table.values()].some(({ leaf }) => leaf.dirty)),
  'locked memory counts for a user': (model) => counted(model, 'user'),
  'locked memory counts for a process': (model) => counted(model, 'mm'),
  'pinned memory of a process that is gone': (model) =>
    [...model.pages].some(({ source, pinned }) => source.kind === 'user' && !source.memory.alive && pinned.size > 0),
  'pinned memory that its process has unmapped': (model) =>
    [...model.pages].some(
      ({ source, pinned }) =>
        source.kind === 'user' &&
        source.memory.alive &&
        [...pinned.keys()].some((page) => !source.memory.pages.has(page)),
    ),
  'an iommufd lives by its devices alone': (model) =>
    [...model.iommufds].some(
      (context) =>
        ![...model.processes.values()].some(({ descriptors }) => [...descriptors.values()].includes(context)),
    ),
  'a container IOAS is set': (model) => [...model.iommufds].some(({ vfioIoas }) => vfioIoas !== null),
};

const domains = (model: Model): Domain[] => [...model.ioases()].flatMap(({ space }) => space.domains);
const attachments = (model: Model) => [...model.iommufds].flatMap((context) => [...context.attachments.values()]);
const domainsInUse = (model: Model): Domain[] => attachments(model).map(({ hwpt }) => hwpt.domain);
const leafOf = (model: Model, fits: (bytes: bigint) => boolean): boolean =>
  domains(model).some(({ table }) => [...table.values()].some(({ leaf }) => fits(leaf.bytes)));
const mapped = (model: Model, fits: (source: 'user' | 'file') => boolean): boolean =>
  [...model.pages].some(({ source, pinned }) => pinned.size > 0 && fits(source.kind));
const counted = (model: Model, mode: 'user' | 'mm'): boolean =>
  [...model.pages].some(({ account, pinned }) => account.mode === mode && pinned.size > 0);

export class Statistics {
  sequences = 0;
  calls = 0;
  readonly #states = new Map<string, number>();
  /** By request, then by outcome. */
  readonly #outcomes = new Map<string, Map<string, number>>();

  outcome(request: string, outcome: string): void {
    this.calls++;
    const row = this.#outcomes.get(request) ?? new Map<string, number>();
    this.#outcomes.set(request, row);
    row.set(outcome, (row.get(outcome) ?? 0) + 1);
  }

  sequence(states: ReadonlySet<string>): void {
    this.sequences++;
    for (const state of states) this.#states.set(state, (this.#states.get(state) ?? 0) + 1);
  }

  errno(name: string): number {
    return [...this.#outcomes.values()].reduce((sum, row) => sum + (row.get(name) ?? 0), 0);
  }

  /** Sequences that had a domain with mappings on a device. */
  get attached(): number {
    return this.#states.get(ATTACHED) ?? 0;
  }

  /** What a run of many sequences must have shown, and has not. */
  shortcomings(): string[] {
    const missing: string[] = ERRNOS.filter((name) => this.errno(name) === 0).map((name) => `${name} never occurred`);
    if (this.attached * 2 < this.sequences)
      missing.push(`only in ${this.attached} of ${this.sequences} sequences ${ATTACHED}: half of them it should be`);
    for (const state of Object.keys(STATES)) if (!this.#states.has(state)) missing.push(`never: ${state}`);
    return missing;
  }

  report(): string {
    const lines = [`${this.sequences} sequences, ${this.calls} calls`, '', 'state: sequences that met it'];
    for (const state of [...Object.keys(STATES), ...EVENTS])
      lines.push(`  ${pad(this.#states.get(state) ?? 0)}  ${state}`);
    lines.push('', 'errno: calls that it refused');
    for (const name of ERRNOS) lines.push(`  ${pad(this.errno(name))}  ${name}`);
    lines.push('', 'request: outcomes');
    for (const [request, row] of [...this.#outcomes].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const outcomes = [...row].sort(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${count}`);
      lines.push(`  ${request}: ${outcomes.join(', ')}`);
    }
    return lines.join('\n');
  }
}

const pad = (count: number): string => String(count).padStart(8);

/** What a sequence does rather than is. */
export const MOVED = 'a device moved from one HWPT to another';
export const PARTLY = 'an unmap failed after a part of its work';
const EVENTS = [MOVED, PARTLY];

/** Adds the states that the model is in to those that the sequence has met. */
export function noteStates(model: Model, met: Set<string>): void {
  for (const [state, holds] of Object.entries(STATES)) if (!met.has(state) && holds(model)) met.add(state);
}
