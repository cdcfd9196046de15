/** The guided update: its chapters and steps, which are done in their order, and what has come of each. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { DeviceView } from '../host/views.ts';
import { stateNow, wordsOf } from '../timeline/states.ts';
import { count } from '../timeline/text.ts';
import { type Asked, curlOf, ofHost, Refused } from './client.ts';
import {
  bindable,
  CHAPTERS,
  type Chapter,
  type Mistake,
  type Request,
  type Step,
  suitable,
  type Values,
  valuesOf,
} from './guide-steps.ts';
import type { LiveHost } from './live-host.ts';
import { stateSign } from './parts.ts';
import { redraw } from './redraw.ts';
import { hashOf, routeTo } from './route.ts';

/** What was asked, and what came. */
interface Outcome {
  asked: Asked;
  answer: unknown;
  error: Error | null;
}

const STEPS = CHAPTERS.flatMap(({ steps }) => steps);
/** An answer that is longer is opened by whoever wants to see it. */
const SHORT = 160;

export class GuideView {
  readonly #live: LiveHost;
  /** Empty until the first step. */
  #values: Values = {};
  /** Of the steps so far; the next one has the number of them. */
  #done: Outcome[] = [];
  /** The next step, when it was refused. */
  #failed: Outcome | null = null;
  #mistakes = new Map<Mistake, Outcome[]>();
  #isOver = false;
  #isBusy = false;
  /** What has come of making a device suitable. */
  #bound: Outcome | null = null;

  constructor(live: LiveHost) {
    this.#live = live;
  }

  view(): TemplateResult {
    const { devices } = this.#live;
    const device = suitable(devices);
    const isBegun = 'bdf' in this.#values;
    if (!isBegun && device === undefined) return this.#noDevice();
    const values = isBegun ? this.#values : valuesOf(device!, this.#live.host!.kernel);
    let first = 0;
    return html`<div class="guide">
      <p>A live update of ${values.bdf}, which goes on doing DMA, in ${STEPS.length} steps: each is a request, and what its answer gives goes into
        the next ones. The guide is kept by this page: a reload begins it anew, and leaves the host as it is.</p>
      ${this.#bar(values)}
      ${CHAPTERS.map((chapter) => {
        const part = this.#chapter(chapter, first, values);
        first += chapter.steps.length;
        return part;
      })}</div>`;
  }

  get #chapterNow(): Chapter | undefined {
    const step = STEPS[this.#done.length];
    return step && CHAPTERS.find(({ steps }) => steps.includes(step));
  }

  /** It stays in sight: what to do next, what came last, and where the device stands. */
  #bar(values: Values): TemplateResult {
    const chapter = this.#chapterNow;
    const isOff = chapter === undefined || this.#isOver;
    return html`<div class="guide-bar" role="group" aria-label="Guide">
      <div class="group">
        <button type="button" ?disabled=${isOff} @click=${() => this.#run(1, values)}>Run the next</button>
        <button type="button" ?disabled=${isOff} @click=${() => this.#run(Infinity, values)}>Run the chapter</button>
        <button type="button" ?disabled=${!('bdf' in this.#values)} @click=${() => this.#anew()}>Begin anew</button>
      </div>
      <p class="small" role="status">${this.#status(chapter)}</p>
      <p class="small">${this.#now(values)}</p>
    </div>`;
  }

  #status(chapter: Chapter | undefined): TemplateResult | string {
    const number = this.#done.length;
    if (this.#isOver)
      return html`<span class="bad">The VMM is gone, and its device was left behind.</span> Begin anew.`;
    if (chapter === undefined)
      return html`All ${STEPS.length} steps are done. <a href=${hashOf(routeTo(this.#live.id))}>The timeline shows it.</a>`;
    const { label } = STEPS[number]!;
    if (this.#failed !== null)
      return html`<span class="bad">Step ${number + 1} has failed: ${label}.</span> It can be repeated.`;
    return `${count(number, 'step')} of ${STEPS.length} done. Next: ${label}.`;
  }

  #now({ bdf, engine }: Values): TemplateResult | typeof nothing {
    const { host, devices, engines } = this.#live;
    const device = devices.find((one) => one.bdf === bdf);
    if (device === undefined || host === null) return nothing;
    const found = engines.find((one) => one.id === engine && one.bdf === bdf);
    return html`Now: kernel ${host.kernel}; ${bdf} ${stateSign(device.state, wordsOf(stateNow(device)))}${
      found === undefined
        ? nothing
        : html`; engine ${found.id}: ${found.continuousPages} of ${count(found.pages, 'page')} without a gap${found.stopped === null ? '' : `, stopped (${found.stopped})`}`
    }`;
  }

  #chapter(chapter: Chapter, first: number, values: Values): TemplateResult {
    const { title, about, steps } = chapter;
    const done = Math.min(steps.length, Math.max(0, this.#done.length - first));
    const isReached = first <= this.#done.length;
    return html`<details class="chapter" ?open=${isReached}><summary><h2>${title}</h2>
        <span class="soft small">${done === steps.length ? 'done' : `${done} of ${steps.length}`}</span></summary>
      <p>${about}</p>
      <ol class="plain" role="list" aria-label=${title}>${steps.map((step, index) => this.#step(step, first + index, values))}</ol>
    </details>`;
  }

  #step(step: Step, number: number, values: Values): TemplateResult {
    const { label, why, mistake } = step;
    const done = this.#done[number];
    const isNext = number === this.#done.length && !this.#isOver;
    const outcome = done ?? (isNext ? this.#failed : null);
    return html`<li class=${done ? 'done' : isNext ? 'next' : 'later'} aria-current=${isNext ? 'step' : 'false'}>
      ${mistake === undefined || (done && !this.#mistakes.has(mistake)) ? nothing : this.#mistake(mistake, isNext, values)}
      <p><strong>${number + 1}. ${label}.</strong> ${why}</p>
      <div class="tools">
        ${done ? html`<span class="small">✓ done</span>` : html`<button type="button" ?disabled=${!isNext} @click=${() => this.#run(1, values, true)}>${label}</button>`}
        <code class="line">${curlOf(done?.asked ?? this.#asked(step, values))}</code>
      </div>
      ${outcome ? came(outcome, step) : nothing}</li>`;
  }

  #mistake(mistake: Mistake, isNext: boolean, values: Values): TemplateResult {
    const outcomes = this.#mistakes.get(mistake);
    return html`<details class="mistake" ?open=${outcomes !== undefined}><summary>A mistake to try here: ${mistake.label}</summary>
      <p>${mistake.what}</p>
      <button type="button" class="small danger" ?disabled=${!isNext || outcomes !== undefined} @click=${() => this.#err(mistake, values)}>${mistake.label}</button>
      ${mistake.requests.map((request, index) => {
        const outcome = outcomes?.[index];
        return html`<code class="line">${curlOf(outcome?.asked ?? this.#asked(request, values))}</code>${outcome ? came(outcome, request) : nothing}`;
      })}</details>`;
  }

  /** There is nothing to begin with. */
  #noDevice(): TemplateResult {
    const { devices, id } = this.#live;
    const having = (wanted: DeviceView['owner']): string =>
      devices
        .filter(({ owner }) => owner === wanted)
        .map(({ bdf }) => bdf)
        .join(', ');
    const [held, waiting] = [having('iommufd'), having('luo')];
    const free = bindable(devices);
    const bind =
      free &&
      ({ method: 'PUT', path: ofHost(id, `/devices/${free.bdf}/driver`), body: '{"driver":"vfio-pci"}' } as const);
    return html`<div class="guide"><p>The guide needs a device on vfio-pci whose DMA nobody owns; here is none.</p>
      ${held === '' ? nothing : html`<p>A process has ${held}: ending it (Processes) leaves that to others.</p>`}
      ${waiting === '' ? nothing : html`<p>A session of the kernel before has ${waiting}: who restores it gets that.</p>`}
      ${
        bind === undefined
          ? html`<p>No device is without a driver and alone in its group, so that none can be bound to it. A host of the preset vmm-lab has some.</p>`
          : html`<p>${free!.bdf} has no driver and is alone in its group: bind vfio-pci to it first.</p>
            <div class="tools"><button type="button" @click=${() => this.#bind(bind)}>Bind vfio-pci to ${free!.bdf}</button><code class="line">${curlOf(bind)}</code></div>`
      }
      <div role="status">${this.#bound?.error ? came(this.#bound) : nothing}</div></div>`;
  }

  /** Steps from the next one on, within its chapter, until one is refused. */
  async #run(most: number, values: Values, isOfStep = false): Promise<void> {
    const chapter = this.#chapterNow;
    if (this.#isBusy || chapter === undefined) return;
    this.#isBusy = true;
    this.#values = values;
    for (let left = most; left > 0 && this.#chapterNow === chapter; left--) {
      const step = STEPS[this.#done.length]!;
      const outcome = await this.#ask(step);
      this.#failed = outcome.error === null || isWanted(outcome.error, step) ? null : outcome;
      if (this.#failed !== null) break;
      this.#done.push(outcome);
      redraw();
    }
    this.#end();
    showNext(isOfStep && this.#failed === null);
  }

  async #err(mistake: Mistake, values: Values): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#values = values;
    const outcomes: Outcome[] = [];
    this.#mistakes.set(mistake, outcomes);
    for (const request of mistake.requests) outcomes.push(await this.#ask(request));
    this.#isOver = mistake.isLast === true && outcomes.every(({ error }) => error === null);
    this.#end();
    showNext(true);
  }

  /** The VMM of the guide is ended, if its kernel runs still, so that its device is free again. */
  async #anew(): Promise<void> {
    const { pid, kernel } = this.#values;
    if (this.#isBusy) return;
    this.#isBusy = true;
    if (pid !== undefined && kernel === this.#live.host?.kernel)
      await this.#send({ method: 'DELETE', path: ofHost(this.#live.id, `/processes/${pid}`) });
    this.#values = {};
    [this.#done, this.#failed, this.#bound, this.#isOver] = [[], null, null, false];
    this.#mistakes.clear();
    await this.#chooseAnew();
  }

  async #bind(asked: Asked): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#bound = await this.#send(asked);
    await this.#chooseAnew();
  }

  /** The device is chosen of those that are known: as they were before, another one would be. */
  async #chooseAnew(): Promise<void> {
    await this.#live.touch();
    this.#end();
    showNext(true);
  }

  async #ask(request: Request): Promise<Outcome> {
    const outcome = await this.#send(this.#asked(request, this.#values));
    const { answer } = outcome;
    const kept = Object.entries(request.keeps ?? {}).map(([name, field]) => [name, (answer as Values | null)?.[field]]);
    if (outcome.error === null) this.#values = { ...this.#values, ...Object.fromEntries(kept) };
    return outcome;
  }

  async #send(asked: Asked): Promise<Outcome> {
    redraw();
    try {
      return { asked, answer: await this.#live.client.ask(asked), error: null };
    } catch (error) {
      return { asked, answer: null, error: error as Error };
    }
  }

  #end(): void {
    this.#isBusy = false;
    void this.#live.touch();
    redraw();
  }

  /** Values that are not known yet stay as they are named. */
  #asked({ request }: Request, values: Values): Asked {
    const filled = request.replaceAll(/\{(\w+)\}/g, (name, key: string) => String(values[key] ?? name));
    const [, method, path, body] = /^(\S+) (\S+)(?: (.*))?$/.exec(filled)!;
    return {
      method: method as Asked['method'],
      path: ofHost(this.#live.id, path),
      ...(body !== undefined && { body }),
    };
  }
}

const isWanted = (error: Error, { refusal }: Partial<Step>): boolean =>
  refusal !== undefined && error instanceof Refused && error.problem.errno === refusal;

/** Scrolls to the next step. `isFocused`: the button that was pressed is gone, or off, so that the next one has its place for the keyboard. */
function showNext(isFocused: boolean): void {
  requestAnimationFrame(() => {
    const next = document.querySelector('.guide .next');
    next?.scrollIntoView({ block: 'nearest' });
    const button = next?.querySelector<HTMLElement>(':scope > .tools > button');
    if (isFocused) (button ?? document.querySelector<HTMLElement>('.guide-bar button:not(:disabled)'))?.focus();
  });
}

/** What came of a request. */
function came({ asked, answer, error }: Outcome, step: Partial<Step> = {}): TemplateResult {
  if (error !== null)
    return isWanted(error, step)
      ? html`<p class="came">Refused, as it has to be: ${error.message}</p>`
      : html`<p class="came bad">${error.message}</p>`;
  // Those in the answer of a GET have not happened.
  const { hazards = [] } = (asked.method === 'GET' ? {} : (answer ?? {})) as { hazards?: { message: string }[] };
  const text = answer === null ? 'no content' : JSON.stringify(answer);
  const told = step.told?.(answer);
  return html`<div class="came">
    ${step.refusal === undefined ? nothing : html`<p class="bad">It should have been refused with ${step.refusal}.</p>`}
    ${told === undefined ? nothing : html`<p>${told}</p>`}
    ${hazards.map(({ message }) => html`<p class="bad">Hazard: ${message}</p>`)}
    ${
      text.length <= SHORT
        ? html`<p><span class="soft small">answer</span> <code>${text}</code></p>`
        : html`<details><summary class="small">The answer</summary><pre tabindex="0" role="group" aria-label="The answer">${JSON.stringify(answer, null, 2)}</pre></details>`
    }</div>`;
}
