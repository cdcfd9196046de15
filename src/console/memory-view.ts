/** The IOVA spaces of a host: the IOASes of every iommufd, what is mapped in one of them, and which HWPTs and devices have it. */
import { html, nothing, svg, type TemplateResult } from 'lit-html';
import type { DescriptorView, DomainView, IoasView, IommufdView, MappingView, ProcessView } from '../host/views.ts';
import { iommufdPicture } from './iommufd-picture.ts';
import { type Group, grouped, type Layout, layout, lengthOf, type Piece, type Range, union } from './iova-layout.ts';
import { bytes, count, shown, stateSign, table } from './parts.ts';
import { redraw } from './redraw.ts';
import type { Seen } from './seen.ts';

/** Of one kind: more of them are drawn as one. */
const MOST_BOXES = 200;
/** Mappings that one request reads, and requests with each press of a button. */
const PAGE = 10_000;
const PAGES_MORE = 10;
/** Rows of the table, and with each press of a button. */
const ROWS = 200;

interface Mapped extends Range {
  readonly access: 'R' | 'W' | 'RW' | '–';
  readonly source: MappingView['source'];
  readonly offset: bigint;
}

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

/** A domain that a kernel has handed over has mappings, but no IOAS as long as nobody has adopted it. */
function withoutIoas({ answers, devices }: Seen): TemplateResult | typeof nothing {
  const waiting = new Map<number, string[]>();
  for (const { bdf, state, domain } of devices)
    if (state === 'L' && domain.id !== null) waiting.set(domain.id, [...(waiting.get(domain.id) ?? []), bdf]);
  if (waiting.size === 0) return nothing;
  const tables = new Map(
    (answers.all<DomainView>('/domains').value ?? []).map(({ id, tablePages }) => [id, tablePages]),
  );
  return html`<section class="iova-waiting" aria-label="Domains without an IOAS">
    <p>Devices in luo mode have no IOAS yet: they go on with the page tables of the kernel before. A program gets a domain as an HWPT when it binds
      the retrieved cdev of a device to the retrieved iommufd.</p>
    <ul class="plain">${[...waiting].map(
      ([
        id,
        bdfs,
      ]) => html`<li>${stateSign('L', '')}<strong>domain ${id}</strong>${tables.has(id) ? html` <span class="soft">(restored, ${count(tables.get(id)!, 'page')} of tables)</span>` : nothing}:
        ${some(bdfs)}</li>`,
    )}</ul></section>`;
}

const some = (names: readonly string[], most = 16): string =>
  names.length > most ? `${names.slice(0, most).join(', ')} and ${names.length - most} more` : names.join(', ');

function ofProcesses(seen: Seen, processes: readonly ProcessView[]): TemplateResult {
  const open = processes.flatMap((process) => iommufdsOf(seen, process));
  const chosen = open.find(({ path }) => path === choice.iommufd) ?? open[0];
  if (chosen === undefined)
    return html`<p>No process has an iommufd open, so there is no IOAS. A program makes one by opening <code>/dev/iommu</code>.</p>`;
  const pick = ({ target }: Event): void => choose({ iommufd: (target as HTMLSelectElement).value, ioas: null });
  return html`<div class="tools"><label>iommufd <select @change=${pick}>${open.map(
    ({ path, name }) => html`<option value=${path} ?selected=${path === chosen.path}>${name}</option>`,
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
    ${answer === null ? html`<p>It has no IOAS.</p>` : shown(answer, (space) => ofIoas(seen, path, space))}`;
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
    <p>${count(space.areas, 'mapping')} of ${bytes(space.bytes)} in all, ${count(reserved.length, 'reserved range')}; a mapping begins and ends at a multiple of ${bytes(space.alignment)}.
      ${space.immutable ? html`<strong>A HWPT of it is preserved: its mappings cannot change.</strong>` : nothing}
      ${allowed.length === 0 ? 'Where nobody has said so, the kernel chooses any IOVA that is not reserved.' : `The kernel chooses IOVAs in ${count(allowed.length, 'allowed range')}.`}</p>
    ${read.error === null ? nothing : html`<p class="bad" role="alert">${read.error.message}</p>`}
    ${read.isReading ? html`<p class="soft" role="status">Reading…</p>` : nothing}
    ${read.hasMore && !read.isReading && rest > 0 ? moreToRead(mappings.length, rest) : nothing}
    ${legend()}
    ${picture(drawing)}
    <h2>Mappings</h2>
    ${mappingTable(mappings)}
    ${ranges(reserved, allowed)}</section>`;
}

const moreToRead = (
  known: number,
  rest: number,
): TemplateResult => html`<p>What is drawn are the first ${number(known)}: ${number(rest)} more are not read.
  <button type="button" @click=${() => choose({ pages: choice.pages + PAGES_MORE, rows: choice.rows })}>Read ${number(Math.min(rest, PAGE * PAGES_MORE))} more</button></p>`;

const number = (value: number): string => value.toLocaleString('en');
const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** Bytes in few digits. */
function size(value: bigint): string {
  const step = 1n << BigInt(10 * Math.max(0, Math.floor((value.toString(2).length - 4) / 10)));
  const rounded = ((value + step / 2n) / step) * step;
  return `${rounded === value ? '' : '≈ '}${bytes(hex(rounded))}`;
}

const SOURCES: Record<MappingView['source'], string> = { user: 'memory of the process', file: 'file' };

function picture({ pieces, empty }: Layout<Mapped>): TemplateResult {
  return html`<ol class="iova-pieces" aria-label="Pieces of the IOVA space that are not empty, ascending">${pieces.map(
    (piece) => html`<li>${gap(piece.empty)}<div>${pieceOf(piece)}
      <span class="iova-ends">${hex(piece.start)} <span class="soft">${size(lengthOf(piece))}</span><br />– ${hex(piece.last)}</span></div></li>`,
  )}<li>${gap(empty)}</li></ol>`;
}

const gap = (empty: bigint): TemplateResult | typeof nothing =>
  empty === 0n
    ? nothing
    : html`<span class="iova-empty soft small"><span aria-hidden="true">⋯</span> ${size(empty)} empty</span>`;

const TOP = 10;
const BAND = 40;
const HEIGHT = TOP + BAND + 1;

function pieceOf({ width, boxes, reserved, allowed, start, last }: Piece<Mapped>): TemplateResult {
  const about = [
    `${hex(start)} to ${hex(last)}`,
    count(
      boxes.reduce((sum, { what }) => sum + what.items.length, 0),
      'mapping',
    ),
    ...(reserved.length > 0
      ? [
          count(
            reserved.reduce((sum, { what }) => sum + what.items.length, 0),
            'reserved range',
          ),
        ]
      : []),
  ].join(', ');
  const wide = Math.ceil(width) + 2;
  return html`<svg class="iova" role="img" aria-label=${about} width=${wide} height=${HEIGHT} viewBox=${`-1 0 ${wide} ${HEIGHT}`}>
    ${allowed.map(({ what, x, width: own }) => svg`<rect class="iova-allowed" x=${x} y="2" width=${own} height="4"><title>${`allowed: ${spoken(what)}`}</title></rect>`)}
    ${boxes.map(({ what, x, width: own }) => box(what, x, own))}
    ${reserved.map(({ what, x, width: own }) => svg`<rect class="iova-reserved" x=${x} y=${TOP} width=${own} height=${BAND}><title>${`reserved: ${what.items.length > 1 ? `${what.items.length} ranges, ` : ''}${spoken(what)}`}</title></rect>`)}
  </svg>`;
}

const spoken = (range: Range): string => `${hex(range.start)} to ${hex(range.last)}, ${size(lengthOf(range))}`;

/** What all of them have in common. */
function common<Value>(items: readonly Mapped[], of: (item: Mapped) => Value): Value | null {
  const first = of(items[0]!);
  return items.every((item) => of(item) === first) ? first : null;
}

function box(group: Group<Mapped>, x: number, width: number): TemplateResult {
  const { items, bytes: sum } = group;
  const access = common(items, (item) => item.access) ?? '…';
  const source = common(items, (item) => item.source);
  const many = items.length > 1 ? `${number(items.length)} mappings, ${size(sum)} of them mapped, ` : '';
  const from = items.length > 1 ? '' : `, from ${hex(items[0]!.offset)}`;
  const title = `${many}${spoken(group)}: ${access}, ${source === null ? 'of memory and of files' : SOURCES[source]}${from}`;
  const middle = x + width / 2;
  return svg`<g class=${`iova-box iova-${source ?? 'both'}`}><title>${title}</title>
    <rect x=${x} y=${TOP} width=${width} height=${BAND} rx="3"></rect>
    <text x=${middle} y=${TOP + (many === '' ? 25 : 17)}>${access}</text>
    ${many === '' ? nothing : svg`<text class="iova-many" x=${middle} y=${TOP + 33}>${`${items.length}×`}</text>`}</g>`;
}

/** The pattern of reserved ranges is in it: it is always there. */
function legend(): TemplateResult {
  const sample = (inner: TemplateResult): TemplateResult =>
    html`<svg class="iova sample" width="30" height="20" aria-hidden="true">${inner}</svg>`;
  return html`<ul class="legend">
    <li>${sample(svg`<g class="iova-box iova-file"><rect x="1" y="1" width="28" height="18" rx="3"></rect><text x="15" y="14">RW</text></g>`)} a file, which a device may read and write</li>
    <li>${sample(svg`<g class="iova-box iova-user"><rect x="1" y="1" width="28" height="18" rx="3"></rect><text x="15" y="14">R</text></g>`)} memory of the process, only to be read</li>
    <li>${sample(svg`<defs><pattern id="iova-hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="iova-hatch" width="2" height="7"></rect></pattern></defs><rect class="iova-reserved" x="1" y="1" width="28" height="18"></rect>`)} reserved: nobody may map there</li>
    <li>${sample(svg`<rect class="iova-allowed" y="8" width="30" height="4"></rect>`)} allowed: where the kernel chooses IOVAs</li>
    <li class="soft">A box is the wider the longer it is, by the logarithm; “9×” stands for nine mappings.</li></ul>`;
}

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
  const left = reserved.length + allowed.length - rows.length;
  return html`<h2>Reserved and allowed ranges</h2>
    ${table(
      'Reserved and allowed ranges',
      ['IOVA', 'Last IOVA', 'Size', 'What'],
      rows.map(({ range, what }) => [code(range.start), code(range.last), size(lengthOf(range)), what]),
      'There are none.',
    )}
    ${left > 0 ? html`<p class="soft">and ${left} more</p>` : nothing}`;
}
