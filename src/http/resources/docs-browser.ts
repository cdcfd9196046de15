/** What the browser gets for the page below /docs beside Swagger UI itself: a script that starts it, and a style. */
import { COLOURS } from '../../timeline/shapes.ts';

export const SCRIPT = `'use strict';
// Swagger UI has colours for the dark, which a class turns on.
const dark = matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
follow();
dark.addEventListener('change', follow);

const nothing = () => () => null;

/** What keeps Swagger UI from being used with a keyboard or a screen reader, and what the page has itself. */
const parts = ({ React: { createElement } }) => ({
  wrapComponents: {
    InfoContainer: nothing,
    ServersContainer: nothing,
    // No link within a button.
    DeepLink: () => ({ text }) => createElement('span', null, text),
    AuthorizeBtnContainer: (Original) => (props) =>
      createElement('div', { role: 'region', 'aria-label': 'Keys' }, createElement(Original, props)),
    FilterContainer: (Original) => (props) => createElement('div', { role: 'search' }, createElement(Original, props)),
  },
});

/** Swagger UI fills examples in, also where nothing need be given: a list would be of what there is not, and each POST the same one. */
const asked = {
  statePlugins: {
    spec: { wrapActions: { updateJsonSpec: (original) => (document) => original(withoutOptional(document)) } },
  },
};

function withoutOptional(document) {
  const operations = Object.values(document.paths ?? {}).flatMap((path) => Object.values(path));
  const parameters = operations.flatMap((operation) => operation.parameters ?? []);
  for (const parameter of [...parameters, ...Object.values(document.components?.parameters ?? {})]) {
    const { required, example } = parameter;
    if (required || example === undefined) continue;
    delete parameter.example;
    parameter.description = (parameter.description ?? '') + ' Such as \\x60' + String(example) + '\\x60.';
  }
  return document;
}

/** Swagger UI goes over all of a document when one operation is opened: seconds. It is given what the operation needs. */
const quick = {
  afterLoad({ fn }) {
    const { resolveSubtree } = fn;
    fn.resolveSubtree = (whole, path, options) => resolveSubtree(partOf(whole, path), path, options);
  },
};

/** The document with nothing but what is at a path, and all that this refers to. */
function partOf(whole, path) {
  const { paths, components, ...part } = whole;
  const seen = new Set();
  const take = (keys) => {
    const name = keys.join('/');
    const found = keys.reduce((from, key) => from?.[key], whole);
    if (seen.has(name) || found === undefined) return;
    seen.add(name);
    let into = part;
    for (const key of keys.slice(0, -1)) into = into[key] ??= {};
    into[keys.at(-1)] = found;
    const values = [found];
    while (values.length > 0) {
      const value = values.pop();
      if (typeof value === 'string' && value.startsWith('#/')) take(value.slice(2).split('/').map(unescaped));
      else if (typeof value === 'object' && value !== null && !seen.has(value)) {
        seen.add(value);
        values.push(...Object.values(value));
      }
    }
  };
  take(path);
  return part;
}

const unescaped = (key) => key.replaceAll('~1', '/').replaceAll('~0', '~');

/** Mends what Swagger UI has made: fields and buttons without a name, texts that no key scrolls, and headings below one that is not there when it is out of sight. */
function mend(root) {
  for (const field of root.querySelectorAll(':is(select, input, textarea, .close-modal):not([aria-label])'))
    field.setAttribute('aria-label', field.closest('[data-param-name]')?.dataset.paramName ?? NAMES[field.localName]);
  for (const button of root.querySelectorAll('.modal-btn[aria-label]')) button.removeAttribute('aria-label');
  for (const text of root.querySelectorAll('pre:not([tabindex])')) text.tabIndex = 0;
  for (const heading of root.querySelectorAll(':is(h4, h5, h6):not([role])')) {
    heading.role = 'heading';
    heading.ariaLevel = heading.localName === 'h4' ? 3 : 4;
  }
}

const NAMES = { select: 'Example', input: 'Value', textarea: 'Body', button: 'Close' };

addEventListener('DOMContentLoaded', () => {
  const domNode = document.querySelector('#swagger-ui');
  const { document: url, key } = domNode.dataset;
  const changes = { childList: true, subtree: true, attributeFilter: ['aria-label'] };
  new MutationObserver(() => mend(domNode)).observe(domNode, changes);
  const ui = SwaggerUIBundle({
    domNode,
    url,
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [parts, asked, quick],
    // Without the bar at the top, which chooses among documents: there is only one.
    layout: 'BaseLayout',
    deepLinking: true,
    // With the operations of all parts in sight Swagger UI has only those on the screen in the page, and loses the one of a link.
    docExpansion: 'none',
    defaultModelsExpandDepth: 0,
    filter: true,
    syntaxHighlight: { theme: 'obsidian' },
    validatorUrl: null,
    // A key that is filled in is not replaced by one of another day.
    persistAuthorization: key === undefined,
    onComplete() {
      if (key !== undefined) ui.preauthorizeApiKey('TenantKey', key);
    },
  });
});
`;

const GUIDE = `
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.55 system-ui, sans-serif; }
.guide { max-width: 1460px; margin: 0 auto; padding: 1.5rem 20px 0; overflow-wrap: anywhere; }
.guide h1 { font-size: 1.8rem; line-height: 1.2; margin: 0; } .guide h2 { font-size: 1.25rem; margin: 1.8rem 0 .5rem; }
.guide p { margin: .5rem 0; max-width: 100ch; } .guide a { color: var(--link); } .guide nav { display: flex; flex-wrap: wrap; gap: .25rem 1.2rem; margin: .6rem 0 .8rem; }
.guide code { font: 13px/1.5 ui-monospace, monospace; } .guide p code, .guide td code { background: var(--column); border: 1px solid var(--line); border-radius: 4px; padding: 0 .25rem; }
.guide pre { margin: 0; padding: .6rem .8rem; border: 1px solid var(--line); border-radius: 8px; background: var(--column); overflow-x: auto; overflow-wrap: normal; }
.beside { display: grid; gap: .75rem 2rem; align-items: start; } .examples { grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); } .examples pre { height: 100%; } .tables { grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.guide table { border-collapse: collapse; width: 100%; font-size: 14px; } .guide caption { text-align: left; font-weight: 600; padding: .25rem 0; } .guide th, .guide td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-top: 1px solid var(--line); } .guide th { white-space: nowrap; }
:focus-visible { outline: 3px solid var(--link) !important; outline-offset: 2px; }
`;

/** Swagger UI on this page, and its colours where they have too little contrast. */
const OPERATIONS = `
html.dark-mode, html.dark-mode .swagger-ui { background: var(--page); }
.swagger-ui .scheme-container, html.dark-mode .swagger-ui .scheme-container { background: none; box-shadow: none; margin: 0; padding: 0; } .swagger-ui .response-col_links { display: none; } .swagger-ui .filter .operation-filter-input { margin: 1rem 0 .5rem; }
html.dark-mode .swagger-ui table.headers td { color: #e4e6e6; } html.dark-mode .swagger-ui .opblock.opblock-put .opblock-section-header { background: #523524; } html.dark-mode .swagger-ui .opblock .opblock-section-header .try-out__btn.cancel { border-color: #ff8a85; color: #ff8a85; }
.light .btn.authorize { border-color: #1a7442; color: #1a7442; } .light .btn.authorize svg { color: #1a7442; fill: #1a7442; }
.light .btn.cancel { border-color: #c0101a; color: #c0101a; } .light .btn.execute { background: #0b57b0; border-color: #0b57b0; } .light .download-contents { background: #59636e; }
.light .opblock-get .opblock-summary-method { background: #0b57b0; } .light .opblock-post .opblock-summary-method { background: #1a7442; } .light .opblock-put .opblock-summary-method { background: #8a5200; } .light .opblock-patch .opblock-summary-method { background: #0c6b5e; } .light .opblock-delete .opblock-summary-method { background: #c0101a; }
.light .parameter__in, .light .parameter__deprecated { color: #59636e; } .light .renderedMarkdown code { color: #6c0bc4; }
.light .json-schema-2020-12-expand-deep-button, .light [class^="json-schema-2020-12"] p, .light [class^="json-schema-2020-12__attribute"] { color: #3b4151; } .light .json-schema-2020-12__constraint--string { background: #8a5200; }
`.replaceAll('.light ', 'html:not(.dark-mode) .swagger-ui ');

export const STYLE = `${COLOURS}${GUIDE}${OPERATIONS}`;
