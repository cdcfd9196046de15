/** The timeline as SVG: kernels as columns, sessions as brackets, a row a device with its engines. Whatever it shows tells itself by a title. */
import type { HostEvent } from '../host/views.ts';
import { Columns, NOW } from './columns.ts';
import type { DeviceRow, EngineStrip, Mark, Step, Stretch, Timeline } from './rows.ts';
import type { SessionMark, SessionRow } from './sessions.ts';
import { box, cross, DEFS, diamond, gap, letter, line, lookOf, titled, token, triangle, upright } from './shapes.ts';
import { type DeviceState, shortWordsOf, wordsOf } from './states.ts';
import { brief, duration, escaped, isBad, nameOf } from './text.ts';

const HEAD = 24;
const NAMES = 160;
const TIMES = 28;
const LANE = 26;
const BRACKET = 40;
const LABEL = 20;
const BAND = 28;
const STRIP = 12;
/** From a band to the first strip under it: marks stand between them. */
const UNDER = 15;
const BELOW = 20;

/** What of it is drawn: the part between these edges, in pixels. */
export interface Window {
  left: number;
  right: number;
  top: number;
  bottom: number;
  /** Where begins what is seen of it: names stand there as long as what they name is seen. */
  x: number;
  y: number;
}

const ALL: Window = { left: 0, right: Infinity, top: 0, bottom: Infinity, x: 0, y: 0 };

/** What is drawn between which heights. */
interface Placed {
  readonly y: number;
  readonly height: number;
  readonly draw: (columns: Columns, y: number, window: Window) => string;
}

/** The rows of a timeline, one under the other. */
export class Rows {
  readonly height: number;
  readonly #placed: Placed[] = [];

  constructor({ marks, sessions }: Timeline, devices: readonly DeviceRow[], columns: Columns) {
    let y = HEAD + NAMES + TIMES;
    const add = (height: number, draw: Placed['draw']): void => {
      this.#placed.push({ y, height, draw });
      y += height;
    };
    if (marks.length > 0) add(LANE, (...at) => lane(marks, ...at));
    for (const session of sessions) if (columns.shows(session.to)) add(BRACKET, (...at) => bracket(session, ...at));
    for (const device of devices)
      add(LABEL + BAND + STRIP * device.engines.length + BELOW, (...at) => deviceRow(device, ...at));
    this.height = y;
  }

  draw(columns: Columns, window: Window): string {
    const seen = this.#placed.filter(({ y, height }) => y <= window.bottom && y + height >= window.top);
    return seen.map(({ draw, y }) => draw(columns, y, window)).join('');
  }
}

/** `about`: what it shows, in a sentence, for those who do not see it. */
export function picture(timeline: Timeline, devices: readonly DeviceRow[], about: string): string {
  const columns = new Columns(timeline);
  return drawing(columns, new Rows(timeline, devices, columns), { about });
}

/** `selected`: a step that stands out. */
export function drawing(
  columns: Columns,
  rows: Rows,
  { about, window = ALL, selected = null }: { about: string; window?: Window; selected?: number | null },
): string {
  const { width } = columns;
  const { height } = rows;
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  const chosen =
    selected === null
      ? ''
      : `<rect class="selected" x="${columns.x(selected)}" width="${Math.max(2, columns.step)}" height="${height}"/>`;
  return `<svg class="timeline" ${size} role="group" aria-label="${escaped(about)}">${DEFS}<g aria-hidden="true">${kernels(columns, height, window)}${chosen}${rows.draw(columns, window)}${head(columns, window)}</g></svg>`;
}

const isSeen = ({ x, width }: { x: number; width: number }, { left, right }: Window): boolean =>
  x <= right && x + width >= left;

/** Where what tells of a kernel's part begins: it goes along while the part is scrolled. */
const within = ({ x, width }: { x: number; width: number }, { x: left }: Window, text: number): number =>
  Math.max(x, Math.min(left, x + width - text));

function kernels(columns: Columns, height: number, window: Window): string {
  const boxes = columns.kernels
    .filter((place) => isSeen(place, window))
    .map(
      ({ x, width, title }) =>
        `<g>${titled(title)}<rect class="kernel" x="${x}" width="${width}" height="${height}" rx="6"/></g>`,
    );
  const between = columns.between
    .filter((place) => isSeen(place, window))
    .map(
      ({ x, width, text }) => `<g>${titled(text)}<rect class="none" x="${x}" width="${width}" height="${height}"/></g>`,
    );
  return [...boxes, ...between].join('');
}

/** Names of kernels and steps, above all that is seen. */
function head(columns: Columns, window: Window): string {
  const height = HEAD + NAMES + TIMES;
  const labels = columns.kernels
    .filter((place) => isSeen(place, window))
    .map(
      (place) =>
        `<text class="strong" x="${within(place, window, place.text.length * 7 + 16) + 8}" y="16">${escaped(place.text)}</text>`,
    );
  const between = columns.between
    .filter((place) => isSeen(place, window) && place.width >= NAME)
    .map(({ x, width, text }) => upright(x + width / 2 + 4, HEAD + NAMES - 4, text.slice(0, 28), 'soft'));
  const ground = `<rect class="ground" x="${window.left}" width="${columns.width - window.left}" height="${height}"/>${kernels(columns, height, window)}`;
  return `<g transform="translate(0 ${window.y})">${window.y > 0 ? ground : ''}${labels.join('')}${between.join('')}${names(columns, window)}</g>`;
}

/** What an upright name takes, and the time under it. */
const NAME = 15;
const TIME = 40;

/** What each step is about, when it was in its kernel, and the number of its command, as far as there is room. */
function names(columns: Columns, { left, right }: Window): string {
  const { step: width } = columns;
  // Those that are left out are the same ones wherever it is scrolled to.
  const every = Math.max(1, Math.ceil(NAME / width));
  const timed = Math.max(1, Math.ceil(TIME / width));
  return [...columns.steps(left - width, right)]
    .filter(({ index }) => index % every === 0)
    .map(({ index, step, x, since }) => {
      const { text, isBad } = headline(step);
      const told = step.events.map(({ kind, message }) => `${kind}: ${message}`).join('\n');
      const more = step.events.length - 1;
      const title = `command ${step.sequence}, ${duration(step.time)}\n${told}`;
      const middle = x + width / 2;
      const time =
        index % timed === 0
          ? `<text class="times" text-anchor="middle" x="${middle}" y="${HEAD + NAMES + 10}">${since === 0n ? '0' : `+${brief(since)}`}</text><text class="times" text-anchor="middle" x="${middle}" y="${HEAD + NAMES + 22}">#${step.sequence}</text>`
          : '';
      return `<g>${titled(title)}<line class="rule" x1="${x}" x2="${x}" y1="${HEAD + 2}" y2="${HEAD + NAMES + TIMES}"/>${upright(middle + 4, HEAD + NAMES - 4, `${text}${more > 0 ? ` +${more}` : ''}`, isBad ? 'bad' : '')}${time}</g>`;
    })
    .concat(`<text class="strong" x="${columns.now + 10}" y="${HEAD + NAMES + 10}">now</text>`)
    .join('');
}

/** From what says most on. */
const FIRST: readonly HostEvent['kind'][] = [
  'panic',
  'crash',
  'power-loss',
  'reset',
  'kexec',
  'boot',
  'hazard',
  'restored',
  'copy',
  'engine.gap',
  'dma.fault',
  'fault.injected',
  'restore.swapped',
  'restore.adopted',
  'vfio.bind',
  'luo.session',
];

function headline({ events }: Step): { text: string; isBad: boolean } {
  const rank = ({ kind }: HostEvent): number => (FIRST.indexOf(kind) + FIRST.length + 1) % (FIRST.length + 1);
  const first = events.toSorted((one, other) => rank(one) - rank(other))[0]!;
  return { text: nameOf(first).slice(0, 22), isBad: events.some(isBad) };
}

function lane(marks: readonly Mark[], columns: Columns, y: number, window: Window): string {
  const label = `<text class="strong" x="${Math.max(columns.left, window.x) + 8}" y="${y + 17}">host</text>`;
  return label + marksIn(marks, columns, window, (mark) => drawn(mark, columns, y + 12, 0));
}

/** How far a mark reaches to each side. */
const MARK = 40;

/** Draws those that are seen; they are in the order of their steps. */
function marksIn<M extends { readonly step: number }>(
  marks: readonly M[],
  columns: Columns,
  { left, right }: Window,
  draw: (mark: M) => string,
): string {
  const seen = marks.filter(({ step }) => {
    const x = columns.x(step);
    return columns.shows(step + 1) && x + columns.step + MARK >= left && x - MARK <= right;
  });
  return seen.map(draw).join('');
}

function bracket(row: SessionRow, columns: Columns, y: number, window: Window): string {
  const { name, from, to, end, waiting, marks } = row;
  const inset = Math.min(4, columns.step / 4);
  const left = columns.x(from) + inset;
  const right = to === null ? columns.now + NOW - 6 : columns.x(to - 1) + columns.step - inset;
  if (right < window.left || left > window.right) return '';
  const top = y + 22;
  const isLost = end === 'lost' || end === 'stuck';
  const words = `session "${name}"${end === null ? '' : ` is ${end}`}`;
  const of = isLost ? 'bracket lost' : 'bracket';
  const pieces: string[] = [];
  const open = `M${left} ${top + 10}V${top}`;
  const close = to === null ? '' : `V${top + 10}`;
  if (waiting === null) pieces.push(`<path class="${of}" d="${open}H${right}${close}"/>`);
  else {
    const begin = columns.x(waiting.from) + columns.step;
    const until = waiting.to === null ? right : Math.max(begin, columns.x(waiting.to));
    pieces.push(`<path class="${of}" d="${open}H${Math.min(begin, right)}"/>`);
    pieces.push(`<path class="${of} waiting" d="M${begin} ${top}H${until}"/>`);
    if (until < right) pieces.push(`<path class="${of}" d="M${until} ${top}H${right}${close}"/>`);
  }
  const label = Math.max(left, Math.min(window.x, right - words.length * 6.2));
  const shown = marksIn(marks, columns, window, (mark) => sessionMark(mark, columns, top));
  return `<g><g>${titled(words)}${pieces.join('')}<text x="${label + 2}" y="${y + 12}">${escaped(words)}</text></g>${shown}</g>`;
}

const TOKENS: Readonly<Record<string, string>> = { preserve: 'P', retrieve: 'R', finish: 'F' };

function sessionMark({ step, what, event }: SessionMark, columns: Columns, y: number): string {
  const x = columns.x(step) + columns.step / 2;
  if (what === 'hazard') return linked([event], triangle(x, y));
  return `<g>${titled(event.message)}${token(x, y, TOKENS[what]!)}</g>`;
}

function deviceRow(device: DeviceRow, columns: Columns, y: number, window: Window): string {
  const { bdf, name, stretches, marks, engines, now } = device;
  const labels = columns.kernels
    .filter((place) => isSeen(place, window))
    .map((place, index) => {
      const more = index === 0 && name !== null && place.width > 150 + name.length * 6 ? `  ${name}` : '';
      const wide = (bdf.length + more.length) * 7 + 20;
      if (place.width < bdf.length * 7) return '';
      return `<text x="${within(place, window, wide) + 8}" y="${y + 14}"><tspan class="strong">${escaped(bdf)}</tspan><tspan class="soft" dx="6">${escaped(more)}</tspan></text>`;
    });
  const top = y + LABEL;
  const bands: string[] = [];
  for (let index = firstBehind(stretches, columns, window.left); index < stretches.length; index += 1) {
    const { from, to, state } = stretches[index]!;
    const x = columns.x(from) + 1;
    if (x > window.right) break;
    const width = Math.max(1, columns.x(to - 1) + columns.step - 2 - x);
    const title = `${bdf}, ${columns.when(from)}: ${state.letter}, ${wordsOf(state)}`;
    bands.push(band(state, title, { x, width, y: top }, window));
  }
  const last =
    now === null
      ? `<text class="soft" x="${columns.now + 8}" y="${top + 18}">gone</text>`
      : band(
          now,
          `${bdf}, now: ${now.letter}, ${wordsOf(now)}`,
          { x: columns.now + 4, width: NOW - 10, y: top },
          window,
        );
  const taken = new Map<number, number>();
  const shown = marksIn(marks, columns, window, (mark) => {
    const place = mark.what === 'hazard' ? 0 : (taken.get(mark.step) ?? 0);
    if (mark.what !== 'hazard') taken.set(mark.step, place + 1);
    return drawn(mark, columns, mark.what === 'hazard' ? top - 3 : top + BAND, place);
  });
  const strips = engines.map((engine, index) => strip(engine, columns, top + BAND + UNDER + STRIP * index, window));
  return [...labels, ...bands, last, ...strips, shown].join('');
}

/** The first stretch that ends behind there. */
function firstBehind(stretches: readonly Stretch[], columns: Columns, left: number): number {
  let [low, high] = [0, stretches.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const { to } = stretches[middle]!;
    if (!columns.shows(to) || columns.x(to - 1) + columns.step < left) low = middle + 1;
    else high = middle;
  }
  return low;
}

function band(
  state: DeviceState,
  title: string,
  { x, width, y }: { x: number; width: number; y: number },
  window: Window,
): string {
  const words = shortWordsOf(state);
  // What tells of it goes along while it is scrolled.
  const left = Math.max(x, Math.min(window.x, x + width - 24));
  const room = x + width - left - 30;
  const text =
    words.length * 6.4 < room
      ? `<text class="on-${lookOf(state)}" x="${left + 24}" y="${y + 18}">${escaped(words)}</text>`
      : '';
  const sign = width < 14 ? '' : letter(state, left + Math.min(12, width / 2), y + 18);
  return `<g>${titled(title)}${box(state, x, y, width, BAND)}${sign}${text}</g>`;
}

function strip({ engine, from, to, gaps, moved }: EngineStrip, columns: Columns, y: number, window: Window): string {
  if (!columns.shows(to)) return '';
  const left = columns.edge(from);
  const isOut = (begin: number, end: number): boolean =>
    columns.edge(begin) > window.right || columns.edge(end) < window.left;
  if (isOut(from, to)) return '';
  const about = `engine ${engine.id} of ${engine.bdf}, ${engine.access}: ${engine.continuousPages} of ${engine.pages} pages were reached all the time, at the same memory`;
  const lines = `<g>${titled(about)}${line(left, columns.edge(to) - left, y)}</g>`;
  const broken = gaps
    .filter((one) => columns.shows(one.to) && !isOut(one.from, one.to))
    .map((one) => {
      const x = columns.edge(one.from);
      const until = one.gap.until === null ? 'until now' : `until ${duration(BigInt(one.gap.until))}`;
      const title = `gap of engine ${engine.id}: ${one.gap.pages} pages from ${one.gap.iova} on, from ${duration(BigInt(one.gap.since))} ${until}; ${one.gap.refused} accesses were refused`;
      return `<g>${titled(title)}${gap(x, Math.max(6, columns.edge(one.to) - x), y)}</g>`;
    });
  const others = moved
    .filter(({ step }) => columns.shows(step + 1) && !isOut(step, step + 1))
    .map((one) => {
      const title = `engine ${engine.id}: ${one.moved.pages} pages from ${one.moved.iova} on lead to other memory from here on`;
      return `<g>${titled(title)}${diamond(columns.edge(one.step) + columns.step / 2, y)}</g>`;
    });
  return [lines, ...broken, ...others].join('');
}

const MARK_TOKENS: Readonly<Record<string, string>> = { reset: '↺', preserve: 'P' };

/** Hazards stand on the upper edge of a band, other marks on the lower one, side by side. */
function drawn({ step, what, events }: Mark, columns: Columns, y: number, place: number): string {
  const middle = columns.x(step) + columns.step / 2;
  if (what === 'hazard') return linked(events, triangle(middle, y));
  const at = middle + (place % 2 === 1 ? 1 : -1) * Math.ceil(place / 2) * 15;
  if (what === 'fault') return linked(events, cross(at, y));
  return `<g>${titled(events.map(({ message }) => message).join('\n'))}${token(at, y, MARK_TOKENS[what]!)}</g>`;
}

/** Opens what the page says of it. The links of the text say the same to those who use no pointer. */
function linked(events: readonly HostEvent[], shape: string): string {
  const [first] = events;
  const to = first!.kind === 'hazard' ? `hazard-${first!.id}` : `event-${first!.id}`;
  const shown = events.slice(0, 8).map((event) => `${nameOf(event)}: ${event.message}`);
  if (events.length > shown.length) shown.push(`and ${events.length - shown.length} more`);
  return `<a href="#${escaped(to)}" tabindex="-1">${titled(shown.join('\n'))}${shape}</a>`;
}
