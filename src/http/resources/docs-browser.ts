/** What the browser gets for the page below /docs beside Swagger UI itself: a script that starts it, and a style. */
import { COLOURS } from './pages.ts';

/** Swagger UI has colours for the dark, which a class turns on. */
export const SCRIPT = `'use strict';
const dark = matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
follow();
dark.addEventListener('change', follow);

addEventListener('DOMContentLoaded', () => {
  const domNode = document.querySelector('#operations');
  const { document: url, key } = domNode.dataset;
  const ui = SwaggerUIBundle({
    domNode,
    url,
    presets: [SwaggerUIBundle.presets.apis],
    // Without the bar at the top, which chooses among documents: there is only one.
    layout: 'BaseLayout',
    deepLinking: true,
    docExpansion: 'list',
    filter: true,
    validatorUrl: null,
    // A key that is filled in is not replaced by one of another day.
    persistAuthorization: key === undefined,
    onComplete() {
      if (key !== undefined) ui.preauthorizeApiKey('TenantKey', key);
    },
  });
});
`;

export const STYLE = `${COLOURS}
body { margin: 0; background: var(--page); }
`;
