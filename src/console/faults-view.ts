/** What happens to a host that nobody asks it: DMA that goes on, failures that are armed, and time. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { FaultView } from '../host/views.ts';
import { count, seconds } from '../timeline/text.ts';
import { Choices } from './choices.ts';
import { ofHost } from './client.ts';
import { engineTable } from './engines.ts';
import { andMore, type Cell, shown, table } from './parts.ts';
import { hashOf, routeTo } from './route.ts';
import type { Seen } from './seen.ts';

const choices = new Choices();

interface Faults {
  points: { name: string; about: string }[];
  armed: FaultView[];
  over: FaultView[];
  more?: { armed: number };
}

const ERRNOS = ['EIO', 'ENOMEM', 'ENOSPC', 'EBUSY', 'EINVAL', 'ENODEV', 'EAGAIN', 'EPERM'];

export function faultsView(seen: Seen): TemplateResult {
  choices.of(seen.id);
  const devices = hashOf(routeTo(seen.id, 'devices'));
  return html`
  <h2>Engines</h2>
  ${engineTable(seen, seen.engines)}
  <p class="soft small">An engine is DMA that goes on by itself, in simulated time and through kexecs. Start one at <a href=${devices}>a device</a>.</p>
  ${seen.isPast ? nothing : html`<h2>Time</h2>${clock(seen)}`}
  <h2>Faults</h2>
  ${shown(seen.answers.get<Faults>('/faults'), (faults) => faultParts(seen, faults))}`;
}

const clock = ({ acting, id, host }: Seen): TemplateResult => html`<div class="tools" role="group" aria-label="Time">
  <span>It is ${seconds(host.time)} s on the host.</span>
  ${[
    ['1 ms', '1000000'],
    ['1 s', '1000000000'],
  ].map(([words, advance]) =>
    acting.button({
      label: `Let ${words} pass`,
      asked: { method: 'POST', path: ofHost(id, '/clock'), body: { advance } },
    }),
  )}
</div>`;

function faultParts(seen: Seen, { points, armed, over, more }: Faults): TemplateResult {
  const about = new Map(points.map(({ name, about }) => [name, about]));
  return html`
    ${seen.isPast ? nothing : arming(seen, points)}
    ${table(
      'Armed faults',
      ['Fault', 'Point', 'What fails', 'When', 'With', ...(seen.isPast ? [] : ['Action'])],
      [...armed, ...over].map((fault) => [
        fault.id,
        html`<code>${fault.point}</code>`,
        about.get(fault.point) ?? '',
        whenOf(fault),
        fault.errno,
        ...(seen.isPast ? [] : [disarming(seen, fault)]),
      ]),
      'Nothing is armed: all goes as the kernel would have it.',
    )}
    ${andMore(more?.armed)}
    <details><summary>All points that can fail</summary>
      ${table(
        'Points',
        ['Point', 'What it is'],
        points.map(({ name, about }) => [html`<code>${name}</code>`, about]),
        '',
      )}</details>`;
}

function whenOf({ nth, times, struck }: FaultView): Cell {
  const soFar = struck === 0 ? '' : `; has failed ${count(struck, 'time')}`;
  if (nth === null) return html`<span class="soft">over${soFar}</span>`;
  return `${nth === 1 ? 'the next pass' : `pass ${nth} from now on`}${times === 1 ? '' : `, ${times} in a row`}${soFar}`;
}

const disarming = ({ acting, id }: Seen, fault: FaultView): TemplateResult =>
  acting.button({
    label: `${fault.nth === null ? 'Forget' : 'Disarm'} fault ${fault.id}`,
    asked: { method: 'DELETE', path: ofHost(id, `/faults/${fault.id}`) },
  });

function arming({ acting, id }: Seen, points: Faults['points']): TemplateResult {
  const point = choices.typed('point', points[0]?.name);
  const [nth, times, errno] = ['nth', 'times', 'errno'].map((name) => choices.typed(name));
  const body = {
    point,
    ...(nth && { nth: Number(nth) }),
    ...(times && { times: Number(times) }),
    ...(errno && { errno }),
  };
  return html`<datalist id="errnos">${ERRNOS.map((name) => html`<option value=${name}></option>`)}</datalist>
    <div class="tools" role="group" aria-label="Let something fail">
      ${choices.select(
        'point',
        'Point',
        points.map(({ name, about }) => [name, `${name}: ${about}`]),
      )}
      ${choices.input('nth', { label: 'Pass', type: 'number', placeholder: 'next', size: 5 })}
      ${choices.input('times', { label: 'Times', type: 'number', placeholder: '1', size: 5 })}
      ${choices.input('errno', { label: 'Errno', placeholder: 'of the point', list: 'errnos', size: 12 })}
      ${acting.button({ label: 'Arm it', asked: { method: 'POST', path: ofHost(id, '/faults'), body } })}
    </div>`;
}
