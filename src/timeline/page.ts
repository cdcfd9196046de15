/** A report on a host: one page without scripts, which needs nothing but itself, light or dark as the reader's system is. */
import type { DeviceView, EngineView, HostEvent, HostView } from '../host/views.ts';
import { MOST_STEPS } from './columns.ts';
import { LEGEND } from './legend.ts';
import { picture } from './picture.ts';
import { type DeviceRow, type Timeline, timelineOf } from './rows.ts';
import { COLOURS, PICTURE_STYLE } from './shapes.ts';
import { count, escaped, isBad, seconds } from './text.ts';
import { inWords } from './words.ts';

/** What GET /v1/hazards has of a hazard. */
export interface HazardKind {
  hazard: string;
  about: string;
  advice: string;
  rule: string | null;
}

export interface ReportOn {
  host: HostView & { id: string; name: string | null; digest?: string };
  devices: readonly DeviceView[];
  engines: readonly EngineView[];
  events: readonly HostEvent[];
  hazards: readonly HazardKind[];
  /** Of Holdover. */
  version: string;
}

/** The newest events of the log, rows of the picture, and hazards in full, at the most. */
const MOST_EVENTS = 2000;
const MOST_ROWS = 32;
const MOST_HAZARDS = 200;

const STYLE = `
* { box-sizing: border-box; } body { font: 15px/1.55 system-ui, sans-serif; margin: 0 auto; max-width: 1680px; padding: 1.5rem clamp(.75rem, 3vw, 3rem) 4rem; background: var(--page); color: var(--text); overflow-wrap: anywhere; }
a { color: var(--link); } h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; } h3 { font-size: 1rem; margin: 0; }
p { margin: .4rem 0; max-width: 80ch; } code { font: 13px ui-monospace, monospace; } .soft { color: var(--soft); } .bad { color: var(--bad); font-weight: 600; } .good { font-weight: 600; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); gap: .4rem 2rem; margin: 1rem 0; } .facts div { border-top: 1px solid var(--line); padding-top: .3rem; } dt { color: var(--soft); font-size: 13px; } dd { margin: 0; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; } .wide:focus-visible { outline: 2px solid var(--link); } .picture { padding: .6rem; }
.legend { display: flex; flex-wrap: wrap; gap: .35rem 1.2rem; padding: 0; margin: .7rem 0; list-style: none; font-size: 13px; } .legend li { display: flex; align-items: center; gap: .4rem; } .sample { flex: none; }
table { border-collapse: collapse; width: 100%; font-size: 14px; } th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: normal; } td.message { min-width: 18rem; overflow-wrap: anywhere; } th { font-weight: 600; } thead th { color: var(--soft); font-size: 13px; } tbody tr:last-child > * { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } tr.kernel th { background: var(--column); } caption { text-align: left; padding: .4rem .6rem; color: var(--soft); font-size: 13px; }
article { border: 1px solid var(--line); border-left: 5px solid var(--bad); border-radius: 6px; padding: .7rem 1rem; margin: .7rem 0; } article.warning { border-left-style: dashed; } :target { outline: 3px solid var(--link); outline-offset: 2px; }
details { margin: .7rem 0; } summary { cursor: pointer; } ul.plain { margin: 0; padding: 0; list-style: none; }
@media print { body { max-width: none; padding: 0; } .wide { overflow: visible; border: 0; } .picture > svg { max-width: 100%; height: auto; } article, tr { break-inside: avoid; } }
`;

export function page(report: ReportOn): string {
  const { host, devices, engines, events } = report;
  const timeline = timelineOf({ events, devices, engines });
  const name = host.name ?? host.id;
  const hazards = events.filter(({ kind }) => kind === 'hazard');
  const sections = [
    head(report, hazards.length),
    timelineSection(timeline, name),
    hazardSection(hazards, report.hazards),
    engineSection(engines),
    deviceSection(devices),
    logSection(events),
  ];
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escaped(name)} · Holdover</title>
<style>${COLOURS}${STYLE}${PICTURE_STYLE}</style></head>
<body>
<main>
${sections.filter((section) => section !== '').join('\n')}
</main>
</body>
</html>
`;
}

function head({ host, engines, events, version }: ReportOn, hazards: number): string {
  const broken = engines.filter(({ continuous }) => !continuous).length;
  const faults = events.filter(({ kind }) => kind === 'dma.fault').length;
  const verdict = [
    hazards === 0
      ? `<span class="good">No hazard${events[0] === undefined || isBeginning(events[0]) ? '' : ' since the oldest event'}</span>`
      : `<a class="bad" href="#hazards">${count(hazards, 'hazard')}</a>`,
    ...(engines.length === 0
      ? []
      : [
          broken === 0
            ? 'DMA of all engines without a gap'
            : `<a class="bad" href="#engines">${broken} of ${count(engines.length, 'engine')} with broken DMA</a>`,
        ]),
    ...(faults === 0 ? [] : [`<span class="bad">${count(faults, 'DMA fault')}</span>`]),
  ];
  const facts: [string, string][] = [
    ['Host', host.id],
    ['State', host.panic === null ? host.state : `${host.state}: ${host.panic}`],
    ['Kernel', `${host.kernel}, profile ${host.profile}`],
    ['Live updates', String(host.liveupdateNumber)],
    ['Simulated time', `${seconds(host.time)} s`],
    ['Holdover', version],
    ...(host.digest === undefined ? [] : [['Digest of its state', host.digest] satisfies [string, string]]),
  ];
  return `<header><h1>${escaped(host.name ?? host.id)}</h1><p>${verdict.join(' · ')}</p>
<dl class="facts">${facts.map(([term, text]) => `<div><dt>${term}</dt><dd>${escaped(text)}</dd></div>`).join('')}</dl></header>`;
}

/** Whether that is the first event of a host: none came before. */
const isBeginning = ({ sequence, kind }: HostEvent): boolean => sequence === 0 && kind === 'boot';

function timelineSection(timeline: Timeline, name: string): string {
  const { steps, devices } = timeline;
  const rows = rowsOf(devices);
  const notes: string[] = [];
  const first = steps[0]?.events[0];
  if (first !== undefined && !isBeginning(first))
    notes.push(`The events begin with “${first.message}” (${first.id}): none tells what came before.`);
  if (steps.length > MOST_STEPS) notes.push(`The picture shows the newest ${MOST_STEPS} of ${steps.length} steps.`);
  if (rows.length < devices.length)
    notes.push(
      `${count(devices.length - rows.length, 'device')} of ${devices.length} are not in the picture, those first of which nothing was told; the table of devices has all.`,
    );
  if (rows.some(({ stretches }) => stretches.some(({ state }) => state.letter === '?')))
    notes.push(
      'Where a row says “?”, no event that is kept tells the state: what came before the oldest event is not known.',
    );
  const about = `Timeline of ${name}: ${count(timeline.kernels.length, 'kernel')}, ${count(rows.length, 'device')}, ${count(timeline.sessions.length, 'session')}. “The timeline in words” below says the same.`;
  return `<section aria-labelledby="timeline"><h2 id="timeline">Timeline</h2>
<p class="soft">A column is a command that has told something, under the event that says most and how many more there are, with the time since its kernel began and the number of the command. Its width is no time. Point at anything to read what it is.</p>
${notes.map((note) => `<p>${escaped(note)}</p>`).join('')}
<div class="wide picture" tabindex="0" role="group" aria-label="Timeline">${picture(timeline, rows, about)}</div>
${LEGEND}
<details><summary>The timeline in words</summary><div class="wide">${inWords(timeline, rows)}</div></details></section>`;
}

/** Those first with which something has happened, in the order of their addresses. */
function rowsOf(devices: readonly DeviceRow[]): readonly DeviceRow[] {
  if (devices.length <= MOST_ROWS) return devices;
  const loud = devices.filter((device) => !device.isQuiet || device.engines.length > 0);
  const quiet = devices.filter((device) => !loud.includes(device));
  const shown = new Set([...loud, ...quiet].slice(0, MOST_ROWS));
  return devices.filter((device) => shown.has(device));
}

function hazardSection(hazards: readonly HostEvent[], kinds: readonly HazardKind[]): string {
  const shown = hazards.slice(-MOST_HAZARDS);
  const known = new Map(kinds.map((kind) => [kind.hazard, kind]));
  const left = hazards.length - shown.length;
  const articles = shown.map((event) => {
    const { id, kernel, time, severity, message, data } = event;
    const kind = known.get(String(data.hazard));
    const rule = data.rule ?? kind?.rule ?? null;
    return `<article id="hazard-${escaped(id)}" class="${severity}"><h3>${escaped(String(data.hazard))}</h3>
<p class="soft">${severity}, kernel ${kernel}, ${seconds(time)} s, event <a href="#event-${escaped(id)}">${escaped(id)}</a>${rule === null ? '' : `, rule ${escaped(String(rule))}`}</p>
<p>${escaped(message)}</p>${kind === undefined ? '' : `<p><strong>What to do:</strong> ${escaped(kind.advice)}</p>`}</article>`;
  });
  return `<section aria-labelledby="hazards"><h2 id="hazards">Hazards</h2>
${hazards.length === 0 ? '<p>None was told.</p>' : ''}${left === 0 ? '' : `<p>The newest ${shown.length}; ${left} are older.</p>`}${articles.join('\n')}</section>`;
}

/** Where the DMA of an engine was not as it should be, in words. */
export const breaksOf = ({ gaps, ...engine }: EngineView): string[] => [
  ...gaps.map(
    ({ pages, iova, since, until }) =>
      `gap: ${pages} pages from ${iova} on, from ${seconds(since)} s ${until === null ? 'until now' : `to ${seconds(until)} s`}`,
  ),
  ...(['moved', 'freed', 'reused'] as const).flatMap((what) =>
    engine[what].map(({ pages, iova, at }) => `${what}: ${pages} pages from ${iova} on, at ${seconds(at)} s`),
  ),
];

export const domainWords = ({ restored, kind, id }: DeviceView['domain']): string =>
  `${restored ? 'restored ' : ''}${kind}${id === null ? '' : ` ${id}`}`;

function engineSection(engines: readonly EngineView[]): string {
  if (engines.length === 0) return '';
  const rows = engines.map((engine) => {
    const { id, bdf, access, since, until, stopped, pages, continuousPages, continuous, accesses, refused } = engine;
    const verdict = continuous
      ? 'without a gap'
      : `<span class="bad">${continuousPages} of ${pages} pages without a break</span>`;
    return `<tr><td>${id}</td><td><code>${escaped(bdf)}</code></td><td>${access}</td><td class="number">${seconds(since)}</td><td class="number">${seconds(until)}</td><td>${stopped ?? 'runs'}</td><td class="number">${pages}</td><td>${verdict}</td><td class="number">${accesses}</td><td class="number">${refused}</td><td class="message"><ul class="plain">${breaksOf(
      engine,
    )
      .map((line) => `<li>${escaped(line)}</li>`)
      .join('')}</ul></td></tr>`;
  });
  return tableSection(
    'engines',
    'Engines',
    [
      'Engine',
      'Device',
      'Access',
      'Since (s)',
      'Until (s)',
      'Ended',
      'Pages',
      'DMA',
      'Accesses',
      'Refused',
      'What has become of it',
    ],
    rows,
  );
}

function deviceSection(devices: readonly DeviceView[]): string {
  if (devices.length === 0) return '';
  const rows = devices.map(({ bdf, name, group, driver, owner, state, domain, cdev }) => {
    const cells = [state, owner ?? '–', domainWords(domain), driver ?? '–', group ?? '–', cdev ?? '–', name ?? '–'];
    return `<tr><th scope="row"><code>${escaped(bdf)}</code></th>${cells.map((cell) => `<td>${escaped(String(cell))}</td>`).join('')}</tr>`;
  });
  return tableSection(
    'devices',
    'Devices now',
    ['Device', 'State', 'Owner of its DMA', 'Domain', 'Driver', 'Group', 'Cdev', 'Name'],
    rows,
  );
}

function logSection(events: readonly HostEvent[]): string {
  const shown = events.slice(-MOST_EVENTS);
  const left = events.length - shown.length;
  let kernel: number | null = null;
  const rows = shown.map((event) => {
    const before =
      event.kernel === kernel
        ? ''
        : `<tr class="kernel"><th scope="rowgroup" colspan="4">kernel ${event.kernel}</th></tr>`;
    kernel = event.kernel;
    return `${before}<tr id="event-${escaped(event.id)}"><td class="number">${seconds(event.time)}</td><td>${escaped(event.id)}</td><td>${escaped(event.kind)}${isBad(event) ? ` <span class="bad">${event.severity}</span>` : ''}</td><td class="message">${escaped(event.message)}</td></tr>`;
  });
  const note = left === 0 ? '' : `The newest ${shown.length} of ${events.length} events; the service has the others.`;
  return tableSection('events', 'Events', ['Time (s)', 'Event', 'Kind', 'What has happened'], rows, note);
}

function tableSection(id: string, title: string, heads: readonly string[], rows: readonly string[], note = ''): string {
  return `<section aria-labelledby="${id}"><h2 id="${id}">${title}</h2>${note === '' ? '' : `<p>${note}</p>`}
<div class="wide" tabindex="0" role="group" aria-label="${title}"><table><thead><tr>${heads.map((text) => `<th scope="col">${text}</th>`).join('')}</tr></thead><tbody>
${rows.join('\n')}
</tbody></table></div></section>`;
}
