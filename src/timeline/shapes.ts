/** What pictures of timelines consist of: shapes of SVG, and how they look. */
import type { DeviceState } from './states.ts';
import { escaped } from './text.ts';

/** The colours of pages, light or dark as the reader's system is. */
export const COLOURS = `
:root { color-scheme: light dark; --page: light-dark(#fff, #15181d); --text: light-dark(#1b1f24, #e6e9ee); --soft: light-dark(#59636e, #9aa4b1); --line: light-dark(#d8dde3, #363d47); --column: light-dark(#f3f5f8, #1d2229); --edge: light-dark(#6b7683, #7c8794); --own: light-dark(#cfd5dd, #4a535f); --dma: light-dark(#4b5563, #aab4c0); --bad: light-dark(#c0101a, #ff6b62); --link: light-dark(#0b57b0, #86b7ff); }
`;

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
.ground { fill: var(--page); } .selected { fill: var(--link); fill-opacity: .16; }
.fault { stroke: var(--bad); stroke-width: 3; } .fault-under { stroke: var(--page); stroke-width: 6; } .token { fill: var(--page); stroke: var(--text); stroke-width: 1.2; } .token-text { font-size: 9px; font-weight: 700; }
`;

export const DEFS = `<defs><pattern id="none" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="7" height="7" fill="var(--column)"/><rect width="2" height="7" fill="var(--line)"/></pattern><pattern id="unknown" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="var(--page)"/><circle cx="2" cy="2" r="1" fill="var(--soft)"/></pattern><pattern id="crossed" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="1.6" height="7" fill="#111" fill-opacity=".4"/></pattern></defs>`;

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

export function lookOf({ letter, owner }: DeviceState): string {
  if (letter === '?') return 'unknown';
  if (letter === '-') return 'absent';
  return letter === 'N' ? (owner ?? 'nobody') : letter;
}

export function box(state: DeviceState, x: number, y: number, width: number, height: number): string {
  const place = `x="${x}" y="${y}" width="${width}" height="${height}" rx="4"`;
  const crossed = state.letter === 'X' ? `<rect fill="url(#crossed)" ${place}/>` : '';
  return `<rect class="state state-${lookOf(state)}" ${place}/>${crossed}`;
}

export const letter = (state: DeviceState, x: number, y: number): string =>
  `<text class="strong on-${lookOf(state)}" text-anchor="middle" x="${x}" y="${y}">${state.letter === '-' ? '–' : state.letter}</text>`;

export function line(x: number, width: number, y: number): string {
  return `<rect class="dma" x="${x}" y="${y - 2}" width="${Math.max(0, width)}" height="4" rx="2"/>`;
}

/** A box with a broken line: it is not the colour alone that tells it from DMA that goes on. */
export function gap(x: number, width: number, y: number): string {
  return `<rect class="gap" x="${x + 1}" y="${y - 4}" width="${width - 2}" height="8"/><line class="gap-line" stroke-dasharray="3 4" x1="${x + 3}" x2="${x + width - 3}" y1="${y}" y2="${y}"/>`;
}

export function triangle(x: number, y: number): string {
  return `<path class="hazard" d="M${x} ${y - 10}L${x + 10} ${y + 8}H${x - 10}Z"/><text class="on-mark" text-anchor="middle" x="${x}" y="${y + 6}">!</text>`;
}

export function cross(x: number, y: number): string {
  const path = `M${x - 5} ${y - 5}l10 10M${x + 5} ${y - 5}l-10 10`;
  return `<path class="fault-under" d="${path}"/><path class="fault" d="${path}"/>`;
}

export function diamond(x: number, y: number): string {
  return `<path class="moved" d="M${x} ${y - 6}l6 6l-6 6l-6 -6Z"/>`;
}

export function token(x: number, y: number, text: string): string {
  return `<circle class="token" cx="${x}" cy="${y}" r="7"/><text class="token-text" text-anchor="middle" x="${x}" y="${y + 3.2}">${text}</text>`;
}

export const upright = (x: number, y: number, text: string, of: string): string =>
  `<text class="names ${of}" transform="translate(${x} ${y}) rotate(-90)">${escaped(text)}</text>`;

export const titled = (text: string): string => (text === '' ? '' : `<title>${escaped(text)}</title>`);
