/** The timeline of a host, of which so much is drawn as is seen: it is scrolled, zoomed, pointed at, and goes on by itself. */
import { html, nothing, type TemplateResult } from 'lit-html';
import { unsafeHTML } from 'lit-html/directives/unsafe-html.js';
import { Columns, STEP } from '../timeline/columns.ts';
import { LEGEND } from '../timeline/legend.ts';
import { drawing, Rows, type Window } from '../timeline/picture.ts';
import type { DeviceRow, Timeline } from '../timeline/rows.ts';
import { inWords } from '../timeline/words.ts';
import { stepDetails } from './event-view.ts';
import type { LiveHost } from './live-host.ts';
import { redraw } from './redraw.ts';

/** Widths of a step, in pixels. */
const LEAST = 3;
const MOST = 120;
const FACTOR = 1.4;
/** It is drawn for so many pixels around what is seen. */
const AROUND = 300;
/** More devices than that, and only those are shown at first with which something has happened. */
const MANY = 24;

interface Drawn {
  timeline: Timeline;
  columns: Columns;
  rows: Rows;
  devices: readonly DeviceRow[];
  window: Window;
  selected: number | null;
  svg: string;
}

export class TimelineView {
  /** A step; null: the newest one, whatever comes. */
  #selected: number | null = null;
  #pointed: number | null = null;
  #width = STEP;
  #showsQuiet: boolean | null = null;
  #wanted = '';
  #isInWords = false;
  #follows = true;
  #drawn: Drawn | null = null;
  #scroller: HTMLElement | null = null;
  #grip: { x: number; y: number; left: number; top: number; isMoved: boolean } | null = null;

  /** `at`: the command behind which the host is looked at. */
  view(live: LiveHost, at: number | null, onSelect: (sequence: number | null) => void): TemplateResult {
    const { timeline } = live;
    const { steps } = timeline;
    if (at !== null) this.#selected = lastBefore(timeline, at);
    const isMany = timeline.devices.length > MANY;
    const showsQuiet = this.#showsQuiet ?? !isMany;
    const devices = timeline.devices.filter(
      ({ isQuiet, engines, bdf, name }) =>
        (showsQuiet || !isQuiet || engines.length > 0) && `${bdf} ${name ?? ''}`.includes(this.#wanted.trim()),
    );
    const { svg } = this.#draw(timeline, devices);
    const shown = this.#pointed ?? this.#selected ?? steps.length - 1;
    return html`
      <div class="tools" role="group" aria-label="Timeline">
        <span class="group">
          <button type="button" @click=${() => this.#zoom(1 / FACTOR)} aria-label="Zoom out" title="Zoom out (−)">−</button>
          <button type="button" @click=${() => this.#zoom(FACTOR)} aria-label="Zoom in" title="Zoom in (+)">+</button>
          <button type="button" @click=${() => this.#fit(steps.length)}>All of it</button>
          <button type="button" @click=${() => this.#zoomTo(STEP)}>Usual size</button>
        </span>
        <label>Devices <input type="search" size="12" .value=${this.#wanted} @input=${this.#want} placeholder="0000:01" /></label>
        <label><input type="checkbox" .checked=${showsQuiet} @change=${this.#quiet} /> those, too, of which nothing was told</label>
        <label><input type="checkbox" .checked=${this.#follows} @change=${this.#follow} /> follow</label>
      </div>
      <p class="soft small">${devices.length} of ${timeline.devices.length} devices, ${steps.length} steps, ${timeline.kernels.length}
        ${timeline.kernels.length === 1 ? 'kernel' : 'kernels'}. A column is a command that has told something; its width is no time.
        Arrow keys go from step to step, + and − zoom.</p>
      <div class="scroller" tabindex="0" role="group" aria-label="Timeline, step by step" aria-describedby="step"
        @scroll=${this.#onScroll} @keydown=${(event: KeyboardEvent) => this.#onKey(event, steps.length)}
        @wheel=${{ handleEvent: this.#onWheel, passive: false }}
        @pointerdown=${this.#onDown} @pointermove=${this.#onMove} @pointerup=${this.#onUp} @pointerleave=${this.#onLeave}
        @click=${this.#onClick}>${unsafeHTML(svg)}</div>
      ${stepDetails(timeline, shown, { isNewest: this.#selected === null && this.#pointed === null, onSelect })}
      ${unsafeHTML(LEGEND)}
      <details class="words" @toggle=${this.#words}><summary>The timeline in words</summary>
        ${this.#isInWords ? html`<div class="wide" tabindex="0" role="region" aria-label="The timeline in words">${unsafeHTML(inWords(timeline, devices))}</div>` : nothing}
      </details>`;
  }

  /** Behind each drawing: the page has the size now that it was drawn for. */
  afterDraw(root: HTMLElement): void {
    const scroller = root.querySelector<HTMLElement>('.scroller');
    const isNew = scroller !== this.#scroller;
    this.#scroller = scroller;
    if (scroller === null) return;
    if (this.#follows && this.#grip === null) scroller.scrollLeft = scroller.scrollWidth;
    if (isNew) redraw();
  }

  #zoom(factor: number, around?: number): void {
    this.#zoomTo(this.#width * factor, around);
  }

  #draw(timeline: Timeline, devices: readonly DeviceRow[]): Drawn {
    const selected = this.#selected;
    const drawn = this.#drawn;
    const isSame =
      drawn !== null &&
      drawn.timeline === timeline &&
      drawn.columns.step === this.#width &&
      drawn.devices.length === devices.length &&
      drawn.devices.every((device, index) => device === devices[index]);
    const columns = isSame ? drawn.columns : new Columns(timeline, { step: this.#width, most: Infinity });
    const rows = isSame ? drawn.rows : new Rows(timeline, devices, columns);
    const window = this.#windowOf(columns);
    const { x, y, right, bottom } = window;
    const isThere =
      x === drawn?.window.x && y === drawn.window.y && right === drawn.window.right && bottom === drawn.window.bottom;
    if (isSame && isThere && drawn.selected === selected) return drawn;
    const about = `Timeline with ${timeline.kernels.length} kernels, ${devices.length} devices, ${timeline.sessions.length} sessions. “The timeline in words” below says the same.`;
    const svg = drawing(columns, rows, { about, window, selected });
    this.#drawn = { timeline, columns, rows, devices, window, selected, svg };
    return this.#drawn;
  }

  /** What is seen of it, and around: a browser scrolls before it asks. Where it is followed it is seen to its end. */
  #windowOf({ width }: Columns): Window {
    const { scrollLeft = 0, scrollTop: y = 0, clientWidth = 1200, clientHeight = 800 } = this.#scroller ?? {};
    const x = this.#follows ? Math.max(0, width - clientWidth) : scrollLeft;
    const [right, bottom] = [x + clientWidth + AROUND, y + clientHeight + AROUND];
    return { left: x - AROUND, right, top: y - AROUND, bottom, x, y };
  }

  #fit(steps: number): void {
    const { clientWidth = 1200 } = this.#scroller ?? {};
    this.#zoomTo((clientWidth - 120) / Math.max(1, steps));
  }

  /** `around`: what stays where it is, in pixels from the left of what is seen. */
  #zoomTo(width: number, around = (this.#scroller?.clientWidth ?? 0) / 2): void {
    const scroller = this.#scroller;
    const old = this.#drawn?.columns;
    const step = old?.stepAt((scroller?.scrollLeft ?? 0) + around) ?? null;
    const offset = step === null ? 0 : (scroller!.scrollLeft + around - old!.x(step)) / this.#width;
    this.#width = Math.min(MOST, Math.max(LEAST, width));
    if (old === undefined || scroller === null || this.#follows || step === null) return void redraw();
    const columns = new Columns(this.#drawn!.timeline, { step: this.#width, most: Infinity });
    this.#drawn = null;
    redraw();
    requestAnimationFrame(() => {
      scroller.scrollLeft = columns.x(step) + offset * this.#width - around;
    });
  }

  readonly #want = ({ target }: Event): void => {
    this.#wanted = (target as HTMLInputElement).value;
    redraw();
  };

  readonly #quiet = ({ target }: Event): void => {
    this.#showsQuiet = (target as HTMLInputElement).checked;
    redraw();
  };

  readonly #follow = ({ target }: Event): void => {
    this.#follows = (target as HTMLInputElement).checked;
    redraw();
  };

  readonly #words = ({ target }: Event): void => {
    this.#isInWords = (target as HTMLDetailsElement).open;
    redraw();
  };

  readonly #onScroll = (): void => {
    const { scrollLeft, scrollWidth, clientWidth } = this.#scroller!;
    this.#follows = scrollLeft + clientWidth >= scrollWidth - 4;
    redraw();
  };

  readonly #onWheel = (event: WheelEvent): void => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.#zoom(event.deltaY < 0 ? FACTOR : 1 / FACTOR, event.clientX - this.#scroller!.getBoundingClientRect().left);
  };

  #onKey(event: KeyboardEvent, steps: number): void {
    const now = this.#selected ?? steps - 1;
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: null }[event.key];
    if (event.key === '+' || event.key === '=') this.#zoom(FACTOR);
    else if (event.key === '-') this.#zoom(1 / FACTOR);
    else if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    else this.select(to === null || to >= steps ? null : Math.max(0, to));
    event.preventDefault();
  }

  /** Brings the step into sight. */
  select(step: number | null): void {
    this.#selected = step;
    this.#pointed = null;
    this.#follows = step === null;
    const scroller = this.#scroller;
    if (scroller !== null && step !== null && this.#drawn !== null) {
      const x = this.#drawn.columns.x(step);
      if (x < scroller.scrollLeft + 40 || x + this.#width > scroller.scrollLeft + scroller.clientWidth - 40)
        scroller.scrollLeft = x - scroller.clientWidth / 2;
    }
    redraw();
  }

  readonly #onDown = ({ button, pointerType, clientX: x, clientY: y }: PointerEvent): void => {
    const { scrollLeft: left, scrollTop: top } = this.#scroller!;
    if (button === 0 && pointerType === 'mouse') this.#grip = { x, y, left, top, isMoved: false };
  };

  readonly #onMove = (event: PointerEvent): void => {
    const grip = this.#grip;
    const scroller = this.#scroller!;
    if (grip !== null && (event.buttons & 1) === 1) {
      const [x, y] = [event.clientX - grip.x, event.clientY - grip.y];
      if (!grip.isMoved && Math.abs(x) + Math.abs(y) < 5) return;
      grip.isMoved = true;
      scroller.scrollLeft = grip.left - x;
      scroller.scrollTop = grip.top - y;
      return;
    }
    const pointed = this.#stepUnder(event);
    if (pointed === this.#pointed) return;
    this.#pointed = pointed;
    redraw();
  };

  readonly #onUp = (): void => {
    // The click that follows is none if it was moved.
    setTimeout(() => {
      this.#grip = null;
    });
  };

  readonly #onLeave = (): void => {
    this.#grip = null;
    this.#pointed = null;
    redraw();
  };

  readonly #onClick = (event: MouseEvent): void => {
    // A report has its texts where these links lead to.
    event.preventDefault();
    if (this.#grip?.isMoved) return;
    const step = this.#stepUnder(event);
    if (step === null) return;
    this.#selected = step;
    this.#follows = false;
    redraw();
  };

  #stepUnder({ clientX }: MouseEvent): number | null {
    const scroller = this.#scroller!;
    const { columns } = this.#drawn!;
    const x = clientX - scroller.getBoundingClientRect().left + scroller.scrollLeft;
    return x >= columns.now ? null : columns.stepAt(x);
  }
}

/** The last step of that command, or before it. */
function lastBefore({ steps }: Timeline, sequence: number): number {
  const found = steps.findLastIndex((step) => step.sequence <= sequence);
  return Math.max(0, found);
}
