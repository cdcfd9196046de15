/** The timeline as SVG: kernels as columns, sessions as brackets, a row a device with its engines. Whatever it shows tells itself by a title. */
import type { HostEvent } from '../host/views.ts';
import { Columns, NOW, STEP } from './columns.ts';
import type { DeviceRow, EngineStrip, Mark, Step, Timeline } from './rows.ts';
import type { SessionMark, SessionRow } from './sessions.ts';
import { type DeviceState, shortWordsOf, wordsOf } from './states.ts';
import { brief, duration, escaped } from './text.ts';

const HEAD = 24;
const NAMES = 160;
const TIMES = 16;
const LANE = 26;
const BRACKET = 40;
const LABEL = 20;
const BAND = 28;
const STRIP = 12;
/** From a band to the first strip under it: marks stand between them. */
const UNDER = 15;
const BELOW = 20;

/** How the picture looks, in the colours that the page defines. They differ for the colour-blind, too (Okabe and Ito). */
export const PICTURE_STYLE = `
.timeline { font: 12px system-ui, sans-serif; display: block; }
.timeline text { fill: var(--text); } .timeline .soft { fill: var(--soft); } .timeline .strong { font-weight: 600; }
.timeline .kernel { fill: var(--column); } .timeline .rule { stroke: var(--line); } .timeline .none { fill: url(#none); }
.timeline .names { font-size: 11px; } .timeline .times { font-size: 10px; fill: var(--soft); } .timeline .bad { fill: var(--bad); font-weight: 600; }
.state { stroke: var(--edge); stroke-width: 1; }
.state-L { fill: #e69f00; } .state-A { fill: #56b4e9; } .state-S { fill: #2fb98d; } .state-X { fill: #cc79a7; }
.state-program { fill: #0072b2; } .state-kernel { fill: var(--own); } .state-nobody { fill: var(--page); } .state-unknown, .state-absent { fill: url(#unknown); }
.timeline text.on-L, .timeline text.on-A, .timeline text.on-S, .timeline text.on-X { fill: #111; } .timeline text.on-program { fill: #fff; }
.dma { fill: var(--dma); } .gap { fill: var(--page); stroke: var(--bad); stroke-width: 2; } .gap-line { stroke: var(--bad); stroke-width: 2; }
.moved { fill: #cc79a7; stroke: var(--page); } .bracket { fill: none; stroke: var(--text); stroke-width: 2; } .waiting { stroke-dasharray: 3 4; } .lost { stroke: var(--bad); }
.hazard { fill: var(--bad); stroke: var(--page); stroke-width: 1.5; } .timeline text.on-mark { fill: var(--page); font-weight: 700; font-size: 11px; }
.fault { stroke: var(--bad); stroke-width: 3; } .fault-under { stroke: var(--page); stroke-width: 6; } .token { fill: var(--page); stroke: var(--text); stroke-width: 1.2; } .token-text { font-size: 9px; font-weight: 700; }
`;

const DEFS = `<defs><pattern id="none" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="7" height="7" fill="var(--column)"/><rect width="2" height="7" fill="var(--line)"/></pattern><pattern id="unknown" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="var(--page)"/><circle cx="2" cy="2" r="1" fill="var(--soft)"/></pattern><pattern id="crossed" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="1.6" height="7" fill="#111" fill-opacity=".4"/></pattern></defs>`;

/** `about`: what it shows, in a sentence, for those who do not see it. */
export function picture(timeline: Timeline, devices: readonly DeviceRow[], about: string): string {
  const columns = new Columns(timeline);
  const parts: string[] = [];
  let y = HEAD + NAMES + TIMES;
  if (timeline.marks.length > 0) {
    parts.push(lane(timeline.marks, columns, y));
    y += LANE;
  }
  for (const session of timeline.sessions.filter(({ to }) => columns.shows(to))) {
    parts.push(bracket(session, columns, y));
    y += BRACKET;
  }
  for (const device of devices) {
    parts.push(deviceRow(device, columns, y));
    y += LABEL + BAND + STRIP * device.engines.length + BELOW;
  }
  const size = `width="${columns.width}" height="${y}" viewBox="0 0 ${columns.width} ${y}"`;
  return `<svg class="timeline" ${size} role="img" aria-label="${escaped(about)}">${DEFS}${kernels(columns, y)}${names(columns)}${parts.join('')}</svg>`;
}

/** A sample of a state, for the legend. */
export function sample(state: DeviceState): string {
  return `<svg class="timeline sample" width="26" height="20" aria-hidden="true">${box(state, 1, 1, 24, 18)}${letter(state, 13, 15)}</svg>`;
}

export const sampleOf = {
  engine: `<svg class="timeline sample" width="40" height="20" aria-hidden="true">${line(0, 18, 10)}${gap(20, 20, 10)}</svg>`,
  hazard: `<svg class="timeline sample" width="22" height="20" aria-hidden="true">${triangle(11, 10)}</svg>`,
  fault: `<svg class="timeline sample" width="22" height="20" aria-hidden="true">${cross(11, 10)}</svg>`,
  moved: `<svg class="timeline sample" width="22" height="20" aria-hidden="true">${diamond(11, 10)}</svg>`,
  none: `<svg class="timeline sample" width="26" height="20" aria-hidden="true"><rect class="none" width="26" height="20"/></svg>`,
  token: (text: string): string =>
    `<svg class="timeline sample" width="20" height="20" aria-hidden="true">${token(10, 10, text)}</svg>`,
  bracket: `<svg class="timeline sample" width="44" height="20" aria-hidden="true"><path class="bracket" d="M2 18V4H14"/><path class="bracket waiting" d="M14 4H28"/><path class="bracket" d="M28 4H42V18"/></svg>`,
};

function kernels(columns: Columns, height: number): string {
  const boxes = columns.kernels.map(({ x, width, text, title }) => {
    const label = `<text class="strong" x="${x + 8}" y="16">${escaped(text)}</text>`;
    return `<g>${titled(title)}<rect class="kernel" x="${x}" width="${width}" height="${height}" rx="6"/>${label}</g>`;
  });
  const between = columns.between.map(({ x, width, text }) => {
    const label = upright(x + width / 2 + 4, HEAD + NAMES - 4, text.slice(0, 28), 'soft');
    return `<g>${titled(text)}<rect class="none" x="${x}" width="${width}" height="${height}"/>${label}</g>`;
  });
  return [...boxes, ...between].join('');
}

const upright = (x: number, y: number, text: string, of: string): string =>
  `<text class="names ${of}" transform="translate(${x} ${y}) rotate(-90)">${escaped(text)}</text>`;

/** What each step is about, and when it was in its kernel. */
function names(columns: Columns): string {
  return columns.steps
    .map(({ step, x, since }) => {
      const { text, isBad } = headline(step);
      const told = step.events.map(({ kind, message }) => `${kind}: ${message}`).join('\n');
      const more = step.events.length - 1;
      const title = `command ${step.sequence}, ${duration(step.time)}\n${told}`;
      return `<g>${titled(title)}<line class="rule" x1="${x}" x2="${x}" y1="${HEAD + 2}" y2="${HEAD + NAMES + TIMES}"/>${upright(x + STEP / 2 + 4, HEAD + NAMES - 4, `${text}${more > 0 ? ` +${more}` : ''}`, isBad ? 'bad' : '')}<text class="times" text-anchor="middle" x="${x + STEP / 2}" y="${HEAD + NAMES + 10}">${since === 0n ? '0' : `+${brief(since)}`}</text></g>`;
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
  const isBad = events.some(({ severity }) => severity === 'error' || severity === 'warning');
  return { text: String(first.kind === 'hazard' ? first.data.hazard : first.kind).slice(0, 22), isBad };
}

function lane(marks: readonly Mark[], columns: Columns, y: number): string {
  return `<text class="strong" x="${columns.left + 8}" y="${y + 17}">host</text>${marks.map((mark) => drawn(mark, columns, y + 12, 0)).join('')}`;
}

function bracket(row: SessionRow, columns: Columns, y: number): string {
  const { name, from, to, end, waiting, marks } = row;
  const left = columns.x(from) + 4;
  const right = to === null ? columns.now + NOW - 6 : columns.x(to - 1) + STEP - 4;
  const top = y + 22;
  const isLost = end === 'lost' || end === 'stuck';
  const words = `session "${name}"${end === null ? '' : ` is ${end}`}`;
  const of = isLost ? 'bracket lost' : 'bracket';
  const pieces: string[] = [];
  const open = `M${left} ${top + 10}V${top}`;
  const close = to === null ? '' : `V${top + 10}`;
  if (waiting === null) pieces.push(`<path class="${of}" d="${open}H${right}${close}"/>`);
  else {
    const begin = columns.x(waiting.from) + STEP;
    const until = waiting.to === null ? right : Math.max(begin, columns.x(waiting.to));
    pieces.push(`<path class="${of}" d="${open}H${Math.min(begin, right)}"/>`);
    pieces.push(`<path class="${of} waiting" d="M${begin} ${top}H${until}"/>`);
    if (until < right) pieces.push(`<path class="${of}" d="M${until} ${top}H${right}${close}"/>`);
  }
  const shown = marks.filter(({ step }) => columns.shows(step + 1)).map((mark) => sessionMark(mark, columns, top));
  return `<g><g>${titled(words)}${pieces.join('')}<text x="${left + 2}" y="${y + 12}">${escaped(words)}</text></g>${shown.join('')}</g>`;
}

const TOKENS: Readonly<Record<string, string>> = { preserve: 'P', retrieve: 'R', finish: 'F' };

function sessionMark({ step, what, event }: SessionMark, columns: Columns, y: number): string {
  const x = columns.x(step) + STEP / 2;
  if (what === 'hazard') return linked([event], triangle(x, y));
  return `<g>${titled(event.message)}${token(x, y, TOKENS[what]!)}</g>`;
}

function deviceRow(device: DeviceRow, columns: Columns, y: number): string {
  const { bdf, name, stretches, marks, engines, now } = device;
  const labels = columns.kernels.map(({ x, width }, index) => {
    const more = index === 0 && name !== null && width > 150 + name.length * 6 ? `  ${name}` : '';
    return `<text x="${x + 8}" y="${y + 14}"><tspan class="strong">${escaped(bdf)}</tspan><tspan class="soft" dx="6">${escaped(more)}</tspan></text>`;
  });
  const top = y + LABEL;
  const bands = stretches
    .filter(({ to }) => columns.shows(to))
    .map(({ from, to, state }) => {
      const x = columns.x(from) + 1;
      const width = columns.x(to - 1) + STEP - 2 - x;
      return band(state, `${bdf}, ${columns.when(from)}: ${state.letter}, ${wordsOf(state)}`, x, width, top);
    });
  const last =
    now === null
      ? `<text class="soft" x="${columns.now + 8}" y="${top + 18}">gone</text>`
      : band(now, `${bdf}, now: ${now.letter}, ${wordsOf(now)}`, columns.now + 4, NOW - 10, top);
  const taken = new Map<number, number>();
  const shown = marks
    .filter(({ step }) => columns.shows(step + 1))
    .map((mark) => {
      const place = mark.what === 'hazard' ? 0 : (taken.get(mark.step) ?? 0);
      if (mark.what !== 'hazard') taken.set(mark.step, place + 1);
      return drawn(mark, columns, mark.what === 'hazard' ? top - 3 : top + BAND, place);
    });
  const strips = engines.map((engine, index) => strip(engine, columns, top + BAND + UNDER + STRIP * index));
  return [...labels, ...bands, last, ...strips, ...shown].join('');
}

function band(state: DeviceState, title: string, x: number, width: number, y: number): string {
  const words = shortWordsOf(state);
  const room = width - 30;
  const text =
    words.length * 6.4 < room
      ? `<text class="on-${lookOf(state)}" x="${x + 24}" y="${y + 18}">${escaped(words)}</text>`
      : '';
  return `<g>${titled(title)}${box(state, x, y, width, BAND)}${letter(state, x + 12, y + 18)}${text}</g>`;
}

function lookOf({ letter, owner }: DeviceState): string {
  if (letter === '?') return 'unknown';
  if (letter === '-') return 'absent';
  return letter === 'N' ? (owner ?? 'nobody') : letter;
}

function box(state: DeviceState, x: number, y: number, width: number, height: number): string {
  const place = `x="${x}" y="${y}" width="${width}" height="${height}" rx="4"`;
  const crossed = state.letter === 'X' ? `<rect fill="url(#crossed)" ${place}/>` : '';
  return `<rect class="state state-${lookOf(state)}" ${place}/>${crossed}`;
}

const letter = (state: DeviceState, x: number, y: number): string =>
  `<text class="strong on-${lookOf(state)}" text-anchor="middle" x="${x}" y="${y}">${state.letter === '-' ? '–' : state.letter}</text>`;

function strip({ engine, from, to, gaps, moved }: EngineStrip, columns: Columns, y: number): string {
  if (!columns.shows(to)) return '';
  const left = columns.edge(from);
  const about = `engine ${engine.id} of ${engine.bdf}, ${engine.access}: ${engine.continuousPages} of ${engine.pages} pages were reached all the time, at the same memory`;
  const lines = `<g>${titled(about)}${line(left, columns.edge(to) - left, y)}</g>`;
  const broken = gaps
    .filter((one) => columns.shows(one.to))
    .map((one) => {
      const x = columns.edge(one.from);
      const until = one.gap.until === null ? 'until now' : `until ${duration(BigInt(one.gap.until))}`;
      const title = `gap of engine ${engine.id}: ${one.gap.pages} pages from ${one.gap.iova} on, from ${duration(BigInt(one.gap.since))} ${until}; ${one.gap.refused} accesses were refused`;
      return `<g>${titled(title)}${gap(x, Math.max(6, columns.edge(one.to) - x), y)}</g>`;
    });
  const others = moved
    .filter(({ step }) => columns.shows(step + 1))
    .map((one) => {
      const title = `engine ${engine.id}: ${one.moved.pages} pages from ${one.moved.iova} on lead to other memory from here on`;
      return `<g>${titled(title)}${diamond(columns.edge(one.step) + STEP / 2, y)}</g>`;
    });
  return [lines, ...broken, ...others].join('');
}

function line(x: number, width: number, y: number): string {
  return `<rect class="dma" x="${x}" y="${y - 2}" width="${Math.max(0, width)}" height="4" rx="2"/>`;
}

/** A box with a broken line: it is not the colour alone that tells it from DMA that goes on. */
function gap(x: number, width: number, y: number): string {
  return `<rect class="gap" x="${x + 1}" y="${y - 4}" width="${width - 2}" height="8"/><line class="gap-line" stroke-dasharray="3 4" x1="${x + 3}" x2="${x + width - 3}" y1="${y}" y2="${y}"/>`;
}

function triangle(x: number, y: number): string {
  return `<path class="hazard" d="M${x} ${y - 10}L${x + 10} ${y + 8}H${x - 10}Z"/><text class="on-mark" text-anchor="middle" x="${x}" y="${y + 6}">!</text>`;
}

function cross(x: number, y: number): string {
  const path = `M${x - 5} ${y - 5}l10 10M${x + 5} ${y - 5}l-10 10`;
  return `<path class="fault-under" d="${path}"/><path class="fault" d="${path}"/>`;
}

function diamond(x: number, y: number): string {
  return `<path class="moved" d="M${x} ${y - 6}l6 6l-6 6l-6 -6Z"/>`;
}

function token(x: number, y: number, text: string): string {
  return `<circle class="token" cx="${x}" cy="${y}" r="7"/><text class="token-text" text-anchor="middle" x="${x}" y="${y + 3.2}">${text}</text>`;
}

const MARK_TOKENS: Readonly<Record<string, string>> = { reset: '↺', preserve: 'P' };

/** Hazards stand on the upper edge of a band, other marks on the lower one, side by side. */
function drawn({ step, what, events }: Mark, columns: Columns, y: number, place: number): string {
  if (!columns.shows(step + 1)) return '';
  const x = columns.x(step);
  if (what === 'hazard') return linked(events, triangle(x + STEP / 2, y));
  const at = x + STEP / 2 + (place % 2 === 1 ? 1 : -1) * Math.ceil(place / 2) * 15;
  if (what === 'fault') return linked(events, cross(at, y));
  return `<g>${titled(events.map(({ message }) => message).join('\n'))}${token(at, y, MARK_TOKENS[what]!)}</g>`;
}

/** Opens what the page says of it. The links of the text say the same to those who use no pointer. */
function linked(events: readonly HostEvent[], shape: string): string {
  const [first] = events;
  const to = first!.kind === 'hazard' ? `hazard-${first!.id}` : `event-${first!.id}`;
  const shown = events
    .slice(0, 8)
    .map(({ kind, message, data }) => `${kind === 'hazard' ? data.hazard : kind}: ${message}`);
  if (events.length > shown.length) shown.push(`and ${events.length - shown.length} more`);
  return `<a href="#${escaped(to)}" tabindex="-1">${titled(shown.join('\n'))}${shape}</a>`;
}

const titled = (text: string): string => (text === '' ? '' : `<title>${escaped(text)}</title>`);
