/** The picture of an IO address space: pieces of it, each a row of boxes, with its ends below. */
import { html, nothing, svg, type TemplateResult } from 'lit-html';
import type { MappingView } from '../host/views.ts';
import { count } from '../timeline/text.ts';
import { BREAK, type Group, type Layout, lengthOf, type Piece, type Range } from './iova-layout.ts';
import { bytes } from './parts.ts';

export interface Mapped extends Range {
  readonly access: 'R' | 'W' | 'RW' | '–';
  readonly source: MappingView['source'];
  readonly offset: bigint;
}

export const number = (value: number): string => value.toLocaleString('en');
export const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** Bytes in few digits. */
export function size(value: bigint): string {
  const step = 1n << BigInt(10 * Math.max(0, Math.floor((value.toString(2).length - 4) / 10)));
  const rounded = ((value + step / 2n) / step) * step;
  return `${rounded === value ? '' : '≈ '}${bytes(hex(rounded))}`;
}

export const SOURCES: Record<MappingView['source'], string> = { user: 'memory of the process', file: 'file' };

export function picture({ pieces, empty }: Layout<Mapped>): TemplateResult {
  return html`<div class="iova-scroller" tabindex="0" role="region" aria-label="Picture of the IOVA space"><ol class="iova-pieces" aria-label="Pieces of the IOVA space that are not empty, ascending">${pieces.map(
    (piece) => html`<li class="iova-piece">${gap(piece.empty)}<div>${pieceOf(piece)}
      <span class="iova-ends">${hex(piece.start)} <span class="soft">${size(lengthOf(piece))}</span><br />– ${hex(piece.last)}</span></div></li>`,
  )}<li class="iova-piece">${gap(empty)}</li></ol></div>`;
}

const gap = (empty: bigint): TemplateResult | typeof nothing =>
  empty < BREAK
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
export function legend(): TemplateResult {
  const sample = (inner: TemplateResult): TemplateResult =>
    html`<svg class="iova sample" width="30" height="20" aria-hidden="true">${inner}</svg>`;
  return html`<ul class="legend">
    <li>${sample(svg`<g class="iova-box iova-file"><rect x="1" y="1" width="28" height="18" rx="3"></rect><text x="15" y="14">RW</text></g>`)} a file, which a device may read and write</li>
    <li>${sample(svg`<g class="iova-box iova-user"><rect x="1" y="1" width="28" height="18" rx="3"></rect><text x="15" y="14">R</text></g>`)} memory of the process, only to be read</li>
    <li>${sample(svg`<defs><pattern id="iova-hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="iova-hatch" width="2" height="7"></rect></pattern></defs><rect class="iova-reserved" x="1" y="1" width="28" height="18"></rect>`)} reserved: nobody may map there</li>
    <li>${sample(svg`<rect class="iova-allowed" y="8" width="30" height="4"></rect>`)} allowed: where the kernel chooses IOVAs</li>
    <li class="soft">A box is the wider the longer it is, by the logarithm; “9×” stands for nine mappings.</li></ul>`;
}
