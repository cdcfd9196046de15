/** The page of a host: what it is, what can be done to it, and its views, of now or of any command before. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { EngineView } from '../host/views.ts';
import { page } from '../timeline/page.ts';
import { seconds } from '../timeline/text.ts';
import { Acting } from './acting.ts';
import { Answers } from './answers.ts';
import { type Client, ofHost } from './client.ts';
import { devicesView } from './devices-view.ts';
import { eventLog } from './event-view.ts';
import { faultsView } from './faults-view.ts';
import { GuideView } from './guide-view.ts';
import { hazardKinds, readHazardKinds } from './hazard-kinds.ts';
import { LiveHost } from './live-host.ts';
import { memoryView } from './memory-view.ts';
import { download, facts } from './parts.ts';
import { Past } from './past.ts';
import { preflightView } from './preflight-view.ts';
import { processesView } from './processes-view.ts';
import { go, hashOf, type Route, routeTo, TABS, type Tab } from './route.ts';
import type { Seen } from './seen.ts';
import { sessionsView } from './sessions-view.ts';
import { TimelineView } from './timeline-view.ts';

type HostRoute = Extract<Route, { page: 'host' }>;

const NAMES: Record<Tab, string> = {
  timeline: 'Timeline',
  devices: 'Devices',
  memory: 'IOVA space',
  processes: 'Processes',
  sessions: 'Sessions',
  faults: 'Faults and engines',
  events: 'Events',
  preflight: 'Preflight',
  guide: 'Guided update',
};
/** They do something, which only the host as it is now can be asked. */
const OF_NOW: readonly Tab[] = ['preflight', 'guide'];

const LINKS = {
  reading: 'reading …',
  live: 'live',
  cut: 'the connection is cut: it is tried again',
  gone: 'there is no such host',
  refused: 'it cannot be read',
};

export class HostPage {
  readonly live: LiveHost;
  readonly #client: Client;
  readonly #acting: Acting;
  readonly #answers: Answers;
  readonly #timeline = new TimelineView();
  readonly #guide: GuideView;
  #past: Past | null = null;
  #slid: number | null = null;

  constructor(client: Client, id: string) {
    this.#client = client;
    this.live = new LiveHost(client, id);
    this.#answers = new Answers(client, id, '');
    this.#acting = new Acting(client, () => void this.live.touch());
    this.#guide = new GuideView(this.live);
    readHazardKinds(client);
  }

  close(): void {
    this.live.close();
    this.#past?.close();
  }

  afterDraw(root: HTMLElement): void {
    this.#timeline.afterDraw(root);
    this.#answers.sweep();
    this.#past?.answers?.sweep();
  }

  view(route: HostRoute): TemplateResult {
    const { live } = this;
    const { host, link, problem } = live;
    this.#goTo(route.at);
    const title = host?.name ?? route.host;
    document.title = `${title} · Holdover`;
    return html`
      <header class="head">
        <h1>${title}</h1>
        <p class="soft"><span class=${`link link-${link}`} role="status">${LINKS[link]}</span>
          ${link === 'refused' || link === 'gone' ? problem?.message : nothing}</p>
        ${host === null ? nothing : this.#about()}
      </header>
      ${this.#acting.shown()}
      ${this.#slider(route)}
      <nav class="tabs" aria-label="Views of the host">${TABS.map(
        (tab) =>
          html`<a href=${hashOf({ ...route, tab })} aria-current=${tab === route.tab ? 'page' : 'false'}>${NAMES[tab]}</a>`,
      )}</nav>
      <section class="tab" aria-label=${`View: ${NAMES[route.tab]}`}>${this.#tab(route)}</section>`;
  }

  #about(): TemplateResult {
    const host = this.live.host!;
    const { hazards } = this.live;
    const pairs: [string, string | TemplateResult][] = [
      ['State', host.panic === null ? host.state : `${host.state}: ${host.panic}`],
      ['Kernel', `${host.kernel}, profile ${host.profile}`],
      ['Live updates', String(host.liveupdateNumber)],
      ['Simulated time', `${seconds(host.time)} s`],
      ['Hazards', hazards === 0 ? 'none' : html`<span class="bad">${hazards}</span>`],
      ['Devices', String(this.live.devices.length)],
      ['Id', host.id],
    ];
    const labels = Object.entries(host.labels).map(([key, value]) => `${key}=${value}`);
    if (labels.length > 0) pairs.push(['Labels', labels.join(', ')]);
    return html`${facts(pairs)}
      <div class="tools" role="group" aria-label="What can be done to the host">${this.#buttons()}</div>`;
  }

  #buttons(): TemplateResult {
    const { id } = this.live;
    const name = this.live.host!.name ?? id;
    const act = this.#acting;
    return html`
      ${act.button({ label: 'Live update', asked: { method: 'POST', path: ofHost(id, '/kexec'), body: { mode: 'live-update' } }, sure: `Replace the kernel of ${name} now? Preflight shows what would be lost.` })}
      ${act.button({ label: 'Crash', asked: { method: 'POST', path: ofHost(id, '/crash'), body: {} }, sure: `Let the kernel of ${name} crash?` })}
      ${act.button({ label: 'Cycle the power', asked: { method: 'POST', path: ofHost(id, '/reset'), body: {} }, sure: `Cycle the power of ${name}? Memory is lost.` })}
      ${act.button<{ id: string }>({
        label: 'Clone',
        asked: { method: 'POST', path: '/v1/hosts', body: { from: id } },
        done: (made) => go(routeTo(made.id)),
      })}
      <span class="act"><button type="button" @click=${() => this.#export()}>Export</button></span>
      <span class="act"><button type="button" @click=${() => this.#report()}>Report</button></span>
      ${act.button({ label: 'Delete', asked: { method: 'DELETE', path: ofHost(id) }, sure: `Delete ${name} for good?`, done: () => go({ page: 'hosts' }) })}`;
  }

  async #export(): Promise<void> {
    try {
      const { text } = await this.#client.read({ method: 'GET', path: ofHost(this.live.id, '/export') });
      download(`${this.live.id}.holdover.json`, text, 'application/json');
    } catch (error) {
      this.#acting.say(`Export: ${(error as Error).message}`, true);
    }
  }

  /** The page that `holdover report` writes. */
  #report(): void {
    const { host, devices, engines, events, id } = this.live;
    const version = document.body.dataset.version ?? '';
    const text = page({ host: host!, devices, engines, events, hazards: hazardKinds(), version });
    download(`${id}.html`, text, 'text/html');
  }

  /** Back through all commands that have told anything. */
  #slider(route: HostRoute): TemplateResult | typeof nothing {
    const { steps } = this.live.timeline;
    if (steps.length === 0) return nothing;
    const last = steps.length - 1;
    const { at } = route;
    const shown = this.#slid ?? (at === null ? last : steps.findLastIndex(({ sequence }) => sequence <= at));
    const { sequence, kernel } = steps[Math.max(0, shown)]!;
    const index = ({ target }: Event): number => Number((target as HTMLInputElement).value);
    return html`<div class="past" role="group" aria-label="Time">
      <label for="at">${shown === last && at === null ? 'Now' : `Behind command ${sequence}, kernel ${kernel}`}</label>
      <input id="at" type="range" min="0" max=${last} .value=${String(shown)} aria-valuetext=${`command ${sequence}, kernel ${kernel}`}
        @input=${(event: Event) => this.#slide(index(event))} @change=${(event: Event) => this.#goBack(route, index(event))} />
      ${at === null ? nothing : html`<a class="button" href=${hashOf({ ...route, at: null })}>Back to now</a>`}
    </div>
    ${at === null ? nothing : this.#ofPast(at)}`;
  }

  #ofPast(at: number): TemplateResult {
    const error = this.#past?.error;
    return html`<p class=${error ? 'bad' : 'soft'} role="status">${
      error
        ? `The host cannot be shown as it was: ${error.message}`
        : `The views show the host as it was behind command ${at}: a copy, which goes when you do.`
    }</p>`;
  }

  #slide(index: number): void {
    this.#slid = index;
    this.#timeline.select(index);
  }

  #goBack(route: HostRoute, index: number): void {
    const { steps } = this.live.timeline;
    this.#slid = null;
    const at = index === steps.length - 1 ? null : steps[index]!.sequence;
    if (at === null) this.#timeline.select(null);
    go({ ...route, at });
  }

  #goTo(at: number | null): void {
    if (this.#past?.at === at || (this.#past === null && at === null)) return;
    this.#past?.close();
    this.#past = at === null ? null : new Past(this.#client, this.live.id, at);
    if (at === null) this.#timeline.select(null);
  }

  #tab(route: HostRoute): TemplateResult | typeof nothing {
    const { live } = this;
    const { tab } = route;
    if (tab === 'timeline') return this.#picture(route);
    const { at } = route;
    if (tab === 'events')
      return eventLog(live.id, at === null ? live.events : live.events.filter(({ sequence }) => sequence <= at));
    if (at !== null && OF_NOW.includes(tab))
      return html`<p>This is of the host as it is now. <a href=${hashOf({ ...route, at: null })}>Back to now</a></p>`;
    const seen = this.#seen(at);
    if (seen === null) return html`<p class="soft" role="status">Reading …</p>`;
    switch (tab) {
      case 'devices':
        return devicesView(seen);
      case 'memory':
        return memoryView(seen);
      case 'processes':
        return processesView(seen);
      case 'sessions':
        return sessionsView(seen);
      case 'faults':
        return faultsView(seen);
      case 'preflight':
        return preflightView(seen);
      case 'guide':
        // What it does is seen beside it.
        return html`<div class="beside">${this.#guide.view()}<div>${this.#picture(route)}</div></div>`;
    }
  }

  #picture(route: HostRoute): TemplateResult {
    return this.#timeline.view(this.live, route.at, (at) => go({ ...route, tab: 'devices', at }));
  }

  #seen(at: number | null): Seen | null {
    const { live } = this;
    const { host, id } = live;
    if (host === null) return null;
    this.#answers.version = live.version;
    const common = { id, host, acting: this.#acting };
    if (at === null)
      return { ...common, answers: this.#answers, devices: live.devices, engines: live.engines, isPast: false };
    const answers = this.#past?.answers ?? null;
    const devices = this.#past?.devices ?? null;
    if (answers === null || devices === null) return null;
    return { ...common, answers, devices, engines: answers.whole<EngineView>('/engines').value ?? [], isPast: true };
  }
}
