/** The engines of a host, or of one of its devices: what has become of their DMA, and a button that ends each. */
import { html, type TemplateResult } from 'lit-html';
import type { EngineView } from '../host/views.ts';
import { breaksOf } from '../timeline/page.ts';
import { count, duration, seconds } from '../timeline/text.ts';
import { ofHost } from './client.ts';
import { bytes, type Cell, table } from './parts.ts';
import type { Seen } from './seen.ts';

/** Of ranges and breaks of an engine. */
const MOST = 4;

export const engineTable = (seen: Seen, engines: readonly EngineView[]): TemplateResult =>
  table(
    'Engines',
    [
      'Engine',
      'Device',
      'Access',
      'Ranges',
      'Since (s)',
      'Rate',
      'DMA',
      'Without a break',
      ...(seen.isPast ? [] : ['Action']),
    ],
    engines.map((engine) => row(seen, engine)),
    'No engine does DMA.',
  );

function row(seen: Seen, engine: EngineView): Cell[] {
  const { id, bdf, access, ranges, since, until, stopped, bytesPerSecond, pages, continuousPages, continuous } = engine;
  const breaks = breaksOf(engine);
  const { gaps = 0, moved = 0, freed = 0, reused = 0 } = engine.more ?? {};
  const cells: Cell[] = [
    String(id),
    html`<code>${bdf}</code>`,
    access,
    lines(ranges.map(({ iova, length }) => `${iova}, ${bytes(length)}`)),
    seconds(since),
    `${bytes(bytesPerSecond)}/s`,
    stopped === null ? 'goes on' : html`<span class="bad">${WHY[stopped]} at ${seconds(until)} s</span>`,
    html`${continuous ? `all ${count(pages, 'page')}, for ${duration(BigInt(until) - BigInt(since))}` : html`<span class="bad">${continuousPages} of ${count(pages, 'page')}</span>`}
      ${lines(breaks, gaps + moved + freed + reused)}`,
  ];
  if (!seen.isPast) cells.push(end(seen, engine));
  return cells;
}

const WHY: Readonly<Record<NonNullable<EngineView['stopped']>, string>> = {
  asked: 'stopped',
  reset: 'ended by a reset',
  removed: 'its device was plugged out',
  'power-cycle': 'ended by the power',
  quiesced: 'its driver has stopped the device',
};

function lines(all: readonly string[], besides = 0): TemplateResult {
  const left = all.length - MOST + besides;
  const shown = all.slice(0, MOST);
  return html`<ul class="plain small">${shown.map((line) => html`<li>${line}</li>`)}${left > 0 && all.length >= MOST ? html`<li class="soft">and ${left} more</li>` : ''}</ul>`;
}

/** The answer tells for the last time what has become of it. */
const end = ({ acting, id: host }: Seen, { id, bdf, stopped }: EngineView): TemplateResult =>
  acting.button<EngineView>({
    label: stopped === null ? `Stop engine ${id}` : `Forget engine ${id}`,
    asked: { method: 'DELETE', path: ofHost(host, `/devices/${bdf}/engines/${id}`) },
    done: ({ continuous, continuousPages, pages }) =>
      acting.say(
        `Engine ${id} has ended: ${continuous ? `all ${count(pages, 'page')}` : `${continuousPages} of ${count(pages, 'page')}`} without a break.`,
        !continuous,
      ),
  });
