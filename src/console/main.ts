/** The console: who is signed in, and which page is shown. */
import { html, nothing, render, type TemplateResult } from 'lit-html';
import { Refused } from './client.ts';
import { HostPage } from './host-page.ts';
import { HostsPage } from './hosts-page.ts';
import { drawWith, redraw } from './redraw.ts';
import { hashOf, routeOf } from './route.ts';
import { Session } from './session.ts';

/** In development mode the page is told the key. */
const { key: knownKey } = document.body.dataset;

const session = new Session();
let hosts: HostsPage | null = null;
let host: HostPage | null = null;

/** The page that the address names, made when it is asked for first; another one ends. */
function shownPage(): TemplateResult {
  const route = routeOf(location.hash);
  if (route.page !== 'host' || host?.live.id !== route.host) {
    host?.close();
    host = null;
  }
  if (route.page !== 'hosts') {
    hosts?.close();
    hosts = null;
  }
  const client = session.client!;
  if (route.page === 'hosts') {
    hosts ??= new HostsPage(client, signOutIfRefused);
    return hosts.view();
  }
  host ??= new HostPage(client, route.host);
  if (host.live.problem !== null) signOutIfRefused(host.live.problem);
  return host.view(route);
}

function signOutIfRefused(error: Error): void {
  if (error instanceof Refused && error.isKeyRefused) signOut('The key is not taken any more.');
}

function signOut(refusal: string | null = null): void {
  hosts?.close();
  host?.close();
  [hosts, host] = [null, null];
  session.signOut(refusal);
}

function signIn(): TemplateResult {
  document.title = 'Sign in · Holdover';
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    void session.signIn(String(new FormData(event.target as HTMLFormElement).get('key')).trim());
  };
  return html`<header class="head"><h1>Sign in</h1></header>
    <form class="sign-in" @submit=${submit}>
      <label class="block">Key of a tenant <input name="key" type="password" required autocomplete="off" spellcheck="false" value=${knownKey ?? ''} /></label>
      ${knownKey === undefined ? nothing : html`<p class="soft">The service runs in development mode: its key is there already.</p>`}
      <p class="soft">It is kept as long as this tab is open, and sent to nobody but this service.</p>
      <button type="submit" ?disabled=${session.isAsking}>Sign in</button>
      <p class="bad" role="alert">${session.refusal ?? ''}</p>
    </form>`;
}

function app(): TemplateResult {
  const isIn = session.client !== null;
  return html`
    <a class="skip" href="#content" @click=${skip}>To the content</a>
    <nav class="bar" aria-label="Holdover">
      <a class="brand" href=${hashOf({ page: 'hosts' })}>Holdover</a>
      <span class="grow"></span>
      <a href="docs">API</a>
      ${isIn ? html`<button type="button" class="plain" @click=${() => signOut()}>Sign out</button>` : nothing}
    </nav>
    <main id="content" tabindex="-1">${isIn ? shownPage() : signIn()}</main>`;
}

/** The address says what is shown, so it cannot name a place in it. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById('content')?.focus();
}

const root = document.createElement('div');
document.body.append(root);
drawWith(() => {
  render(app(), root);
  host?.afterDraw(root);
});
addEventListener('hashchange', redraw);
redraw();
