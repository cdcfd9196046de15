/** A page that tells all of a run: one file without scripts, light or dark as the reader's system is. */

import { escaped } from '../../timeline/text.ts';
import type { Failure, Outcome, Summary } from '../outcome.ts';
import { show } from './text.ts';

const STYLE = `
:root { color-scheme: light dark; --bad: light-dark(#b3261e, #ff8a80); --good: light-dark(#1b6e2f, #7ddc92); --line: light-dark(#ddd, #444); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.time { text-align: right; font-variant-numeric: tabular-nums; } .bad { color: var(--bad); font-weight: 600; } .good { color: var(--good); }
section { border: 1px solid var(--line); border-left: 4px solid var(--bad); border-radius: 4px; padding: 0 1rem; margin: 1rem 0; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid var(--line); border-radius: 4px; font-size: 13px; } h2 { font-size: 1.1rem; }
`;

export function html(summary: Summary): string {
  const { outcomes, passed, failed, milliseconds } = summary;
  const verdict =
    failed === 0
      ? `<span class="good">all ${passed} passed</span>`
      : `<span class="bad">${failed} failed</span>, ${passed} passed`;
  const failures = outcomes.flatMap((outcome, index) =>
    outcome.failure === undefined ? [] : [section(outcome, outcome.failure, index)],
  );
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Holdover scenarios: ${failed === 0 ? 'passed' : 'failed'}</title>
<style>${STYLE}</style></head>
<body>
<h1>Scenarios</h1>
<p>${verdict}, in ${(milliseconds / 1000).toFixed(1)} s.</p>
${failures.join('\n')}
<table>
<thead><tr><th>Result</th><th>Scenario</th><th>File</th><th>Steps</th><th>Time</th></tr></thead>
<tbody>
${outcomes.map(row).join('\n')}
</tbody>
</table>
</body>
</html>
`;
}

function row({ name, about, file, line, steps, milliseconds, failure }: Outcome, index: number): string {
  const result =
    failure === undefined ? '<span class="good">passed</span>' : `<a class="bad" href="#f${index}">failed</a>`;
  const told = about === undefined ? '' : `<br><small>${escaped(about)}</small>`;
  return `<tr><td>${result}</td><td>${escaped(name)}${told}</td><td>${escaped(`${file}:${line}`)}</td><td>${steps}</td><td class="time">${Math.round(milliseconds)} ms</td></tr>`;
}

function section(
  { name }: Outcome,
  { at, message, step, differences, timeline, reproduce }: Failure,
  index: number,
): string {
  const rows = differences.map(
    ({ what, expected, got }) =>
      `<tr><td>${escaped(what)}</td><td>${escaped(show(expected))}</td><td>${escaped(show(got))}</td></tr>`,
  );
  const table =
    rows.length === 0 ? '' : `<table><tr><th>What</th><th>Expected</th><th>Got</th></tr>${rows.join('')}</table>`;
  return `<section id="f${index}">
<h2>${escaped(name)}</h2>
<p><code>${escaped(at)}</code>: ${escaped(message)}</p>
${block(step)}${table}
${timeline.length === 0 ? '' : `<h3>Timeline</h3>${block(timeline.join('\n'))}`}
${reproduce.length === 0 ? '' : `<details><summary>The same by hand, with HOLDOVER_URL and HOLDOVER_KEY set</summary>${block(reproduce.join('\n'))}</details>`}
</section>`;
}

const block = (text: string): string => (text === '' ? '' : `<pre>${escaped(text)}</pre>`);
