/** The IOVA spaces of a host: the IOASes of every iommufd, what is mapped in one of them, and which HWPTs and devices have it. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { DescriptorView, DomainView, IoasView, IommufdView, MappingView, ProcessView } from '../host/views.ts';
import { count } from '../timeline/text.ts';
import { iommufdPicture } from './iommufd-picture.ts';
import { grouped, type Layout, layout, lengthOf, type Range, union } from './iova-layout.ts';
import { hex, legend, type Mapped, number, picture, SOURCES, size } from './iova-picture.ts';
import { andMore, bytes, shown, stateSign, table } from './parts.ts';
import { redraw } from './redraw.ts';
import type { Seen } from './seen.ts';

/** Of one kind: more of them are drawn as one. */
const MOST_BOXES = 200;
/** Mappings that one request reads, and requests with each press of a button. */
const PAGE = 10_000;
const PAGES_MORE = 10;
/** Devices of a domain. */
const MOST_NAMED = 16;
/** Rows of the table, and with each press of a button. */
const ROWS = 200;

/** What the reader has chosen. */
interface Choice {
  host: string;
  iommufd: string;
  ioas: number | null;
  /** Pages of mappings that are read, and rows of them that the table has. */
  pages: number;
  rows: number;
}

let choice: Choice = { host: '', iommufd: '', ioas: null, pages: 1, rows: ROWS };

function choose(changed: Partial<Choice>): void {
  choice = { ...choice, pages: 1, rows: ROWS, ...changed };
  redraw();
}

interface OpenIommufd {
  /** Its path below the host. */
  path: string;
  name: string;
}

export function memoryView(seen: Seen): TemplateResult {
  const { host } = seen.answers;
  if (choice.host !== host) choice = { host, iommufd: '', ioas: null, pages: 1, rows: ROWS };
  return html`${withoutIoas(seen)}${shown(seen.answers.all<ProcessView>('/processes'), (processes) => ofProcesses(seen, processes))}`;
}

/** A domain that was handed over has mappings, but no IOAS, and no HWPT either before somebody has adopted it. */
function withoutIoas({ answers, devices }: Seen): TemplateResult | typeof nothing {
  const states = new Map(devices.map(({ bdf, state }) => [bdf, state]));
  const waiting = (answers.all<DomainView>('/domains').value ?? []).filter(
    (domain) => domain.restored && domain.devices.every((bdf) => states.get(bdf) === 'L'),
  );
  if (waiting.length === 0) return nothing;
  const some = (bdfs: readonly string[]): string =>
    bdfs.length > MOST_NAMED
      ? `${bdfs.slice(0, MOST_NAMED).join(', ')} and ${bdfs.length - MOST_NAMED} more`
      : bdfs.join(', ');
  return html`<section class="iova-waiting" aria-label="Domains without an IOAS">
    <p>Devices in luo mode have no IOAS: they go on with the page tables of the kernel before. A domain becomes an HWPT when a program
      binds the retrieved cdev of one of its devices to the retrieved iommufd.</p>
    <ul class="plain">${waiting.map(
      ({ id, devices: bdfs, tablePages }) => html`<li>${stateSign('L', '')}<strong>domain ${id}</strong>,
        <span class="soft">restored, ${count(tablePages, 'page')} of tables:</span> ${bdfs.length === 0 ? 'no device' : some(bdfs)}</li>`,
    )}</ul></section>`;
}

function ofProcesses(seen: Seen, processes: readonly ProcessView[]): TemplateResult {
  const open = processes.flatMap((process) => iommufdsOf(seen, process));
  const chosen = open.find(({ path }) => path === choice.iommufd) ?? open[0];
  if (chosen === undefined)
    return html`<p>No process has an iommufd open, so there is no IOAS. A program makes one by opening <code>/dev/iommu</code>.</p>`;
  const pick = ({ target }: Event): void => choose({ iommufd: (target as HTMLSelectElement).value, ioas: null });
  return html`<div class="tools"><label>iommufd <select @change=${pick}>${open.map(
    ({ path, name }) => html`<option value=${path} .selected=${path === chosen.path}>${name}</option>`,
  )}</select></label></div>
    ${shown(seen.answers.get<IommufdView>(chosen.path), (iommufd) => ofIommufd(seen, chosen.path, iommufd))}`;
}

/** A legacy container is an iommufd, too. */
function iommufdsOf({ answers }: Seen, { pid, name, descriptors, more }: ProcessView): OpenIommufd[] {
  const all = more?.descriptors ? answers.all<DescriptorView>(`/processes/${pid}/descriptors`).value : null;
  return (all ?? descriptors)
    .filter(({ kind }) => kind === 'iommufd')
    .map(({ fd, link, preservedIn }) => ({
      path: `/processes/${pid}/iommufds/${fd}`,
      name: [
        `${name} (${pid}), descriptor ${fd}: ${link}`,
        ...(preservedIn === null ? [] : [`in session ${preservedIn}`]),
      ].join(', '),
    }));
}

function ofIommufd(seen: Seen, path: string, iommufd: IommufdView): TemplateResult {
  const { ioases } = iommufd;
  const ioas = ioases.find((id) => id === choice.ioas) ?? ioases[0];
  const answer = ioas === undefined ? null : seen.answers.get<IoasView>(`${path}/ioases/${ioas}`);
  return html`
    ${iommufdPicture(seen, { path, iommufd, chosen: answer?.value ?? null, choose: (id) => choose({ ioas: id }) })}
    ${answer === null ? html`<p>This iommufd has no IOAS: nothing can be mapped before there is one.</p>` : shown(answer, (space) => ofIoas(seen, path, space))}`;
}

interface Read {
  pages: MappingView[][];
  /** There are more, which nobody has asked for. */
  hasMore: boolean;
  isReading: boolean;
  error: Error | null;
}

function mappingsOf({ answers }: Seen, path: string): Read {
  const read: Read = { pages: [], hasMore: true, isReading: false, error: null };
  let after = '';
  while (read.pages.length < choice.pages && read.hasMore && !read.isReading && read.error === null) {
    const asked = `${path}/mappings?limit=${PAGE}${after}`;
    const { value, error, isAsking } = answers.get<{ items: MappingView[]; nextPageToken: string | null }>(asked);
    if (value === null) Object.assign(read, { error, isReading: isAsking });
    else {
      read.pages.push(value.items);
      read.hasMore = value.nextPageToken !== null;
      after = `&after=${value.nextPageToken}`;
    }
  }
  return read;
}

interface Drawn {
  space: IoasView;
  pages: MappingView[][];
  mappings: Mapped[];
  reserved: Range[];
  allowed: Range[];
  layout: Layout<Mapped>;
}

/** The last one: as long as nothing changes it stays. */
let drawn: Drawn | null = null;

function draw(space: IoasView, pages: MappingView[][]): Drawn {
  const isSame = drawn?.pages.length === pages.length && drawn.pages.every((page, index) => page === pages[index]);
  if (drawn !== null && isSame && drawn.space === space) return drawn;
  const mappings = drawn !== null && isSame ? drawn.mappings : pages.flat().map(mapped);
  const reserved = union(space.reserved.map(rangeOf));
  const allowed = union(space.allowed.map(rangeOf));
  const boxes = grouped(mappings, MOST_BOXES);
  drawn = {
    space,
    pages,
    mappings,
    reserved,
    allowed,
    layout: layout(boxes, grouped(reserved, MOST_BOXES), grouped(allowed, MOST_BOXES)),
  };
  return drawn;
}

const rangeOf = ({ start, last }: { start: string; last: string }): Range => ({
  start: BigInt(start),
  last: BigInt(last),
});

function mapped({ iova, length, readable, writeable, source, offset }: MappingView): Mapped {
  const start = BigInt(iova);
  const access = readable ? (writeable ? 'RW' : 'R') : writeable ? 'W' : '–';
  return { start, last: start + BigInt(length) - 1n, access, source, offset: BigInt(offset) };
}

function ofIoas(seen: Seen, path: string, space: IoasView): TemplateResult {
  const read = mappingsOf(seen, `${path}/ioases/${space.ioas}`);
  const { mappings, reserved, allowed, layout: drawing } = draw(space, read.pages);
  const rest = space.areas - mappings.length;
  return html`<section aria-labelledby="ioas"><h2 id="ioas">IOAS ${space.ioas}</h2>
    <p>${about(space, reserved.length, allowed.length)}
      ${space.immutable ? html`<strong>A HWPT of it is preserved: its mappings cannot change.</strong>` : nothing}</p>
    ${read.error === null ? nothing : html`<p class="bad" role="alert">${read.error.message}</p>`}
    ${read.isReading ? html`<p class="soft" role="status">Reading…</p>` : nothing}
    ${read.hasMore && !read.isReading && rest > 0 ? moreToRead(mappings.length, rest) : nothing}
    ${legend()}
    ${picture(drawing)}
    <h2>Mappings</h2>
    ${mappingTable(mappings)}
    ${ranges(reserved, allowed)}</section>`;
}

function about({ areas, bytes: mapped, alignment }: IoasView, reserved: number, allowed: number): string {
  const pages = BigInt(alignment) === 1n ? '' : ` Mappings begin and end at multiples of ${bytes(alignment)}.`;
  const where =
    allowed === 0
      ? 'any IOVA that is not reserved'
      : `an IOVA in ${allowed === 1 ? 'the' : `one of the ${allowed}`} allowed range${allowed === 1 ? '' : 's'}`;
  const all =
    areas === 0
      ? 'Nothing is mapped'
      : `${number(areas)} mapping${areas === 1 ? '' : 's'}, ${size(BigInt(mapped))} in all`;
  return `${all}; ${count(reserved, 'reserved range')}.${pages} Where a program names no IOVA, the kernel chooses ${where}.`;
}

const moreToRead = (
  known: number,
  rest: number,
): TemplateResult => html`<p>What is drawn are the first ${number(known)}: ${number(rest)} more are not read.
  <button type="button" @click=${() => choose({ pages: choice.pages + PAGES_MORE, rows: choice.rows })}>Read ${number(Math.min(rest, PAGE * PAGES_MORE))} more</button></p>`;

function mappingTable(mappings: readonly Mapped[]): TemplateResult {
  const rows = mappings
    .slice(0, choice.rows)
    .map((item) => [
      code(item.start),
      code(item.last),
      size(lengthOf(item)),
      item.access,
      SOURCES[item.source],
      code(item.offset),
    ]);
  return html`${table('Mappings', ['IOVA', 'Last IOVA', 'Size', 'Access', 'Of', 'From'], rows, 'Nothing is mapped.')}
    ${
      mappings.length > choice.rows
        ? html`<p>${number(choice.rows)} of ${number(mappings.length)} are in the table.
          <button type="button" @click=${() => choose({ pages: choice.pages, rows: choice.rows + ROWS })}>${number(Math.min(ROWS, mappings.length - choice.rows))} more</button></p>`
        : nothing
    }`;
}

const code = (value: bigint): TemplateResult => html`<code>${hex(value)}</code>`;

function ranges(reserved: readonly Range[], allowed: readonly Range[]): TemplateResult {
  const rows = [
    ...reserved.map((range) => ({ range, what: 'reserved' })),
    ...allowed.map((range) => ({ range, what: 'allowed' })),
  ].slice(0, ROWS);
  return html`<h2>Reserved and allowed ranges</h2>
    ${table(
      'Reserved and allowed ranges',
      ['IOVA', 'Last IOVA', 'Size', 'What'],
      rows.map(({ range, what }) => [code(range.start), code(range.last), size(lengthOf(range)), what]),
      'There are none.',
    )}
    ${andMore(reserved.length + allowed.length - rows.length)}`;
}
