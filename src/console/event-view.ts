/** Events as the console shows them: those of a step, and the log of all. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { HostEvent } from '../host/views.ts';
import type { Timeline } from '../timeline/rows.ts';
import { duration, isBad, nameOf, seconds } from '../timeline/text.ts';
import { Choices } from './choices.ts';
import { adviceOn } from './hazard-kinds.ts';

/** So many of a step are shown; it may have very many. */
const MOST = 40;

export function stepDetails(
  { steps }: Timeline,
  index: number,
  { isNewest, onSelect }: { isNewest: boolean; onSelect: (sequence: number | null) => void },
): TemplateResult {
  const step = steps[index];
  if (step === undefined)
    return html`<section id="step" class="step" aria-label="Step"><p>Nothing was told yet.</p></section>`;
  const left = step.events.length - MOST;
  return html`<section id="step" class="step" aria-label="Step" aria-live=${isNewest ? 'off' : 'polite'}>
    <h2>Command ${step.sequence} <span class="soft">kernel ${step.kernel}, ${duration(step.time)}${isNewest ? ', the newest' : ''}</span></h2>
    <ul class="plain">${step.events.slice(0, MOST).map(eventLine)}${left > 0 ? html`<li class="soft">and ${left} more</li>` : nothing}</ul>
    ${isNewest ? nothing : html`<button type="button" @click=${() => onSelect(step.sequence)}>See the host as it was then</button>`}
  </section>`;
}

type Told = Pick<HostEvent, 'kind' | 'severity' | 'message' | 'data'>;

export const eventLine = (event: Told): TemplateResult =>
  html`<li class=${isBad(event) ? 'event bad-event' : 'event'}><span class="kind">${nameOf(event)}</span>
    <span class="message">${event.message}</span>${adviceOf(event)}</li>`;

/** What to do about a hazard. */
function adviceOf({ kind, data }: Told): TemplateResult | typeof nothing {
  const advice = kind === 'hazard' ? adviceOn(String(data.hazard)) : null;
  return advice === null ? nothing : html`<p class="advice"><strong>What to do:</strong> ${advice}</p>`;
}

const SEVERITIES = ['info', 'notice', 'warning', 'error'];
/** More of them with each press of a button. */
const AT_ONCE = 200;

const choices = new Choices();

/** Of a host; the newest first. */
export function eventLog(host: string, events: readonly HostEvent[]): TemplateResult {
  choices.of(host);
  const [kind, wanted] = [choices.typed('kind'), choices.typed('text').toLowerCase()];
  const least = SEVERITIES.indexOf(choices.typed('severity', 'info'));
  const most = choices.most('events', AT_ONCE);
  const kinds = [...new Set(events.map((event) => event.kind))].sort();
  const isWanted = (event: HostEvent): boolean =>
    (kind === '' || event.kind === kind) &&
    SEVERITIES.indexOf(event.severity) >= least &&
    (wanted === '' || `${event.kind} ${event.message}`.toLowerCase().includes(wanted));
  const found = kind === '' && least <= 0 && wanted === '' ? events : events.filter(isWanted);
  const shown = found.slice(-most).reverse();
  const own = (names: readonly string[]): [string, string][] => names.map((name) => [name, name]);
  return html`
    <div class="tools" role="group" aria-label="Which events">
      ${choices.input('text', { label: 'Text', type: 'search', size: 20 })}
      ${choices.select('kind', 'Kind', [['', 'all'], ...own(kinds)])}
      ${choices.select('severity', 'At least', own(SEVERITIES))}
    </div>
    <p class="soft small" role="status">${found.length} of ${events.length} events, the newest first.</p>
    <div class="wide" tabindex="0" role="region" aria-label="Events">
      <table><thead><tr><th scope="col" class="number">Time (s)</th><th scope="col">Event</th><th scope="col" class="number">Kernel</th><th scope="col">Kind</th><th scope="col">What has happened</th></tr></thead>
      <tbody>${shown.map(
        (event) => html`<tr class=${isBad(event) ? 'bad-event' : ''}>
          <td class="number">${seconds(event.time)}</td><td>${event.id}</td><td class="number">${event.kernel}</td>
          <td>${nameOf(event)}${event.severity === 'info' ? nothing : html` <span class="severity">${event.severity}</span>`}</td>
          <td class="message">${event.message}${adviceOf(event)}</td></tr>`,
      )}</tbody></table></div>
    ${shown.length < found.length ? html`<button type="button" @click=${() => choices.showMore('events', AT_ONCE)}>Older ones</button>` : nothing}`;
}
