/** The page below /docs as it is sent: how to begin and what states mean. Its script puts the operations below that. */
import manifest from '../../../package.json' with { type: 'json' };
import type { DeviceView, HostView, SessionView } from '../../host/views.ts';
import { escaped } from '../../timeline/text.ts';
import type { KeySource } from './pages.ts';

export interface GuideOptions {
  keySource: KeySource;
  devKey: string;
  /** What the OpenAPI document says of itself. */
  description: string;
}

/** Where the service was asked, such as `http://127.0.0.1:8080`, and where its pages are from there, such as `docs`. */
export interface Place {
  address: string;
  folder: string;
}

const DEVICE_STATES: Readonly<Record<DeviceView['state'], [string, string]>> = {
  L: [
    'luo mode',
    'A live update has brought it on its domain, and its DMA goes on. Only the program that restores it gets it; others are refused with <code>EBUSY</code>.',
  ],
  A: ['adopted', 'Bound by its restored cdev, and still on the restored domain.'],
  S: ['swapped', 'Bound, and moved to another HWPT.'],
  X: ['blocked', 'Bound, and detached: its DMA is blocked.'],
  N: ['none of these', 'As without a live update: a program has it, its driver, or nobody.'],
};

const HOST_STATES: Readonly<Record<HostView['state'], string>> = {
  running: 'Its kernel runs.',
  kdump: 'The kernel has crashed, and the crash kernel runs: it has no live update.',
  panic: 'The kernel has stopped. Only a reset helps.',
  kexec: 'One kernel is frozen, and the next one has not booted yet. DMA goes on.',
};

const SESSION_STATES: Readonly<Record<SessionView['state'], [string, string]>> = {
  open: ['outgoing', 'Made in this kernel: files are put into it, and the next live update hands it over.'],
  waiting: ['incoming', 'The kernel before has handed it over, and nobody has retrieved it.'],
  retrieved: ['incoming', 'A program has it: it retrieves the files, and finishes.'],
  stuck: ['incoming', 'Closed before it could finish: nobody can reach it until the next reboot.'],
};

export function guide({ keySource, devKey, description: markdown }: GuideOptions, { address, folder }: Place): string {
  const description = escaped(markdown).replaceAll(/`([^`]+)`/g, '<code>$1</code>');
  const known = keySource === 'known';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Holdover: API</title>
<link rel="icon" type="image/png" href="${folder}/static/favicon-32x32.png" sizes="32x32">
<link rel="stylesheet" href="${folder}/static/swagger-ui.css">
<link rel="stylesheet" href="${folder}/static/theme/docs.css">
<script src="${folder}/static/theme/docs.js"></script>
<script src="${folder}/static/swagger-ui-bundle.js" defer></script>
</head>
<body>
<header class="guide">
<h1>Holdover: API</h1>
<nav aria-label="Pages"><a href="#list">Operations</a> <a href="${folder}/..">Holdover ${escaped(manifest.version)}</a> <a href="${folder}/../console">Console</a> <a href="${folder}/readme">README</a> <a href="${folder}/../openapi.json">OpenAPI document</a></nav>
<section aria-labelledby="start">
<h2 id="start">Getting started</h2>
${KEY_WORDS[keySource](devKey)}
<p>A first host, with curl or in JavaScript:</p>
<div class="beside examples">
${example('curl', curl(address, known ? devKey : null))}
${example('JavaScript', javascript(address, known ? devKey : null))}
</div>
</section>
<section aria-labelledby="states">
<h2 id="states">What states mean</h2>
<div class="beside tables">
${table(
  'Device, after a live update',
  Object.entries(DEVICE_STATES).map(([state, [name, what]]) => [state, `<strong>${name}</strong>: ${what}`]),
)}
${table('Host', Object.entries(HOST_STATES))}
${table(
  'Session',
  Object.entries(SESSION_STATES).map(([state, [side, what]]) => [state, `<strong>${side}</strong>: ${what}`]),
)}
</div>
</section>
<h2 id="list">Operations</h2>
<p>${description}</p>
<noscript><p>They are shown by a script. The <a href="${folder}/../openapi.json">OpenAPI document</a> has all of them.</p></noscript>
</header>
<div id="swagger-ui" data-document="${folder}/json"${known ? ` data-key="${escaped(devKey)}"` : ''}></div>
</body>
</html>
`;
}

const KEY_WORDS: Readonly<Record<KeySource, (key: string) => string>> = {
  known: (key) =>
    `<p>This is the development mode, which serves this machine only. Its key is <code>${escaped(key)}</code>, and it is filled in: choose an operation below, press <strong>Try it out</strong>, then <strong>Execute</strong>.</p>`,
  chosen: () =>
    '<p>This is the development mode, which serves this machine only. Its key is the one in <code>HOLDOVER_DEV_KEY</code>: press <strong>Authorize</strong> below and give it as <code>TenantKey</code>. Then choose an operation, press <strong>Try it out</strong>, then <strong>Execute</strong>.</p>',
  configured: () =>
    `<p>Requests need the key of a tenant. Press <strong>Authorize</strong> below and give it as <code>TenantKey</code>; then choose an operation, press <strong>Try it out</strong>, then <strong>Execute</strong>.</p>
<p>Whoever runs the service gives tenants their keys: <code>HOLDOVER_TENANTS=name:key</code> makes tenants at the start, and with the admin key (<code>HOLDOVER_ADMIN_KEY</code>) <code>POST /v1/admin/tenants</code> makes one and shows its key once. A tenant makes more keys for itself with <code>POST /v1/keys</code>.</p>`,
};

/** A first host by a shell, and by a module of Node 20 or a page; `key` null: it is in HOLDOVER_KEY. */
const curl = (address: string, key: string | null): string => `curl -s ${address}/v1/hosts \\
  -H ${key === null ? '"authorization: Bearer $HOLDOVER_KEY"' : `'authorization: Bearer ${key}'`} \\
  -H 'content-type: application/json' \\
  -d '{"preset":"vmm-lab"}'`;

const javascript = (address: string, key: string | null): string => `const answer = await fetch('${address}/v1/hosts', {
  method: 'POST',
  headers: {
    authorization: ${key === null ? "'Bearer ' + process.env.HOLDOVER_KEY" : `'Bearer ${key}'`},
    'content-type': 'application/json',
  },
  body: '{"preset":"vmm-lab"}',
});
const host = await answer.json();`;

/** Wide lines are scrolled, by keys, too. */
const example = (name: string, line: string): string =>
  `<pre tabindex="0" role="region" aria-label="${name}"><code>${escaped(line)}</code></pre>`;

const table = (caption: string, rows: readonly (readonly string[])[]): string =>
  `<table><caption>${caption}</caption><tbody>${rows.map(([state, what]) => `<tr><th scope="row"><code>${state}</code></th><td>${what}</td></tr>`).join('')}</tbody></table>`;
