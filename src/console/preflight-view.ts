/** What a kexec would do now: what would be lost, what to do first, and what would be handed over. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { HandedOverDevice, HandoverView, PreflightStep, PreflightView } from '../host/views.ts';
import { count, duration } from '../timeline/text.ts';
import { Choices } from './choices.ts';
import { ofHost } from './client.ts';
import { eventLine } from './event-view.ts';
import { andMore, fileWords, shown, stateSign, table, tokenOf } from './parts.ts';
import type { Seen } from './seen.ts';

type Mode = HandoverView['mode'];

const MODES: Record<Mode, string> = { 'live-update': 'live update', plain: 'plain kexec' };
const FATES: Record<HandedOverDevice['fate'], string> = {
  kept: 'goes on',
  lost: 'is left behind',
  quiesced: 'is stopped by its driver',
  idle: 'is not in use',
};

const choices = new Choices();
const modeOf = (): Mode => choices.typed('mode', 'live-update') as Mode;

export function preflightView(seen: Seen): TemplateResult {
  choices.of(seen.id);
  return html`
    <div class="tools">
      ${choices.select('mode', 'Kexec', Object.entries(MODES))}
      <span class="soft small">It is done to a copy of the host, each time the host changes: this one stays as it is.</span>
    </div>
    ${shown(seen.answers.get<PreflightView>(`/preflight?mode=${modeOf()}`), (preflight) => found(seen, preflight))}`;
}

function found(seen: Seen, preflight: PreflightView): TemplateResult {
  const { refusal, panic, hazards, steps, handedOver, more } = preflight;
  const mode = modeOf();
  const losses = lossesOf(preflight);
  const isSafe = refusal === null && panic === null && losses.length === 0;
  return html`
    <p class=${isSafe ? 'verdict' : 'verdict bad'} role="status">${verdict(preflight, losses)}</p>
    ${refusal === null ? nothing : html`<p>${refusal.why}${refusal.rule === null ? '' : ` (rule ${refusal.rule})`}</p>`}
    ${handedOver === null ? nothing : html`<p class="soft">${summary(handedOver)}</p>`}
    <div class="tools">${seen.acting.button({
      label: `Run the ${MODES[mode]}`,
      asked: { method: 'POST', path: ofHost(seen.id, '/kexec'), body: { mode } },
      isOff: seen.isPast || refusal !== null,
      ...(!isSafe && { sure: `${verdict(preflight, losses)} Run the ${MODES[mode]} all the same?` }),
    })}</div>
    ${
      steps.length === 0
        ? nothing
        : html`<h2 id="first">To do first, in this order</h2>
      <ol class="steps" aria-labelledby="first">${steps.map(stepLine)}</ol>${andMore(more?.steps)}`
    }
    ${
      hazards.length === 0
        ? nothing
        : html`<h2 id="hazards">Hazards that would be raised</h2>
      <ul class="plain" role="list" aria-labelledby="hazards">${hazards.map(hazardLine)}</ul>${andMore(more?.hazards)}`
    }
    ${handedOver === null ? nothing : tables(handedOver)}`;
}

function verdict({ refusal, panic }: PreflightView, losses: readonly string[]): string {
  if (refusal !== null) return `reboot() would be refused: ${refusal.errno} in ${refusal.where}.`;
  if (panic !== null) return `The next kernel would stop: ${panic}.`;
  return losses.length === 0 ? 'Nothing is lost.' : `${losses.join(', ')}.`;
}

/** What would be lost, in words; of the first ones of each that the answer lists. */
function lossesOf({ handedOver, hazards, more }: PreflightView): string[] {
  if (handedOver === null) return [];
  const { devices, files, domains } = handedOver;
  const losses: string[] = [];
  const add = (number: number, what: string, becomes: string): void => {
    if (number > 0) losses.push(`${count(number, what)} would be ${becomes}`);
  };
  add(devices.filter(({ fate }) => fate === 'lost').length, 'device', 'left behind');
  add(files.filter(({ kept }) => !kept).length, 'file', 'lost');
  add(domains.filter(({ kept }) => !kept).length, 'domain', 'lost');
  // There are others than those of what is listed.
  if (losses.length === 0) add(hazards.length + (more?.hazards ?? 0), 'hazard', 'raised');
  return losses;
}

function summary({ devices, sessions, files, blackout, taken }: HandoverView): string {
  const kept = devices.filter(({ fate }) => fate === 'kept').length;
  const what = taken
    ? `${count(sessions.length, 'session')} with ${count(files.length, 'file')} handed over`
    : 'nothing handed over';
  return `${count(kept, 'device')} going on, ${what}, ${duration(BigInt(blackout))} without a kernel.`;
}

const stepLine = ({ what, rest, call }: PreflightStep): TemplateResult =>
  html`<li>${what}${rest === null ? nothing : html`<br /><code>${rest}</code>`}${call === null ? nothing : html` <span class="soft">or</span> <code>${call}</code>`}</li>`;

const hazardLine = ({ message, data }: PreflightView['hazards'][number]): TemplateResult =>
  eventLine({ kind: 'hazard', severity: 'warning', message, data });

const tables = (handedOver: HandoverView): TemplateResult => html`
  ${devicesOf(handedOver)}
  ${handedOver.sessions.length + handedOver.files.length + handedOver.domains.length === 0 ? html`<p class="soft">No session, file or domain is handed over.</p>` : contentsOf(handedOver)}`;

function devicesOf({ devices, more }: HandoverView): TemplateResult {
  return html`<h2>Devices</h2>
    ${table(
      'Devices',
      ['Device', 'Fate', 'State after', 'Domain', 'Session', 'Token', 'Token of its HWPT', 'Why'],
      devices.map(({ bdf, fate, state, domain, liveupdate, why }) => [
        bdf,
        fate === 'lost' ? html`<span class="bad">${FATES[fate]}</span>` : FATES[fate],
        stateSign(state),
        domain ?? '–',
        liveupdate?.session ?? '–',
        liveupdate === null ? '–' : tokenOf(liveupdate.token),
        liveupdate?.hwptToken == null ? '–' : tokenOf(liveupdate.hwptToken),
        why ?? '',
      ]),
      'The host has none.',
    )}${andMore(more?.devices)}`;
}

function contentsOf({ sessions, files, domains, more }: HandoverView): TemplateResult {
  return html`<h2>Sessions</h2>
    ${table(
      'Sessions',
      ['Session', 'Files'],
      sessions.map(({ name, files: number }) => [name, number]),
      'None is handed over.',
    )}${andMore(more?.sessions)}
    <h2>Files</h2>
    ${table(
      'Files',
      ['Token', 'Session', 'Handler', 'What', 'Can be retrieved'],
      files.map((file) => [
        tokenOf(file.token),
        file.session,
        file.handler,
        fileWords(file),
        file.kept ? 'yes' : html`<span class="bad">no</span>`,
      ]),
      'None is handed over.',
    )}${andMore(more?.files)}
    <h2>Domains</h2>
    ${table(
      'Domains',
      ['Domain', 'Kept', 'Devices'],
      domains.map(({ id, kept, devices: on }) => [id, kept ? 'yes' : html`<span class="bad">no</span>`, on.join(', ')]),
      'None is handed over.',
    )}${andMore(more?.domains)}`;
}
