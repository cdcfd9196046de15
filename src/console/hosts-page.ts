/** The hosts of a tenant, as they are, and ways to make one. */
import { html, nothing, type TemplateResult } from 'lit-html';
import { count } from '../timeline/text.ts';
import { Acting } from './acting.ts';
import { type Client, ofHost } from './client.ts';
import { table } from './parts.ts';
import { VIEW_LABEL } from './past.ts';
import { redraw } from './redraw.ts';
import { go, hashOf, routeTo } from './route.ts';

interface ListedHost {
  id: string;
  name: string | null;
  created: string;
  labels: Record<string, string>;
  expiresAt: string | null;
  state: string | null;
  kernel: number | null;
  hazards: number | null;
  damage: unknown;
  setAside: unknown;
}

interface Preset {
  name: string;
  about: string;
  functions: number;
}

/** Between two looks at the list. */
const LOOK_MS = 2000;

export class HostsPage {
  readonly #client: Client;
  readonly #acting: Acting;
  readonly #onRefused: (error: Error) => void;
  #hosts: ListedHost[] | null = null;
  #presets: Preset[] = [];
  #problem: string | null = null;
  #wanted = '';
  #preset = 'vmm-lab';
  #name = '';
  #text = '';
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  constructor(client: Client, onRefused: (error: Error) => void) {
    this.#client = client;
    this.#onRefused = onRefused;
    this.#acting = new Acting(client, () => void this.#look());
    void this.#look();
    client.whole<Preset>('/v1/presets').then(
      (presets) => {
        this.#presets = presets;
        redraw();
      },
      () => {},
    );
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    clearTimeout(this.#timer);
    if (!document.hidden) {
      try {
        const before = JSON.stringify(this.#hosts);
        this.#hosts = await this.#client.all<ListedHost>('/v1/hosts');
        if (this.#problem !== null || JSON.stringify(this.#hosts) !== before) redraw();
        this.#problem = null;
      } catch (error) {
        this.#onRefused(error as Error);
        this.#problem = (error as Error).message;
        redraw();
      }
    }
    clearTimeout(this.#timer);
    if (!this.#isClosed) this.#timer = setTimeout(() => this.#look(), LOOK_MS);
  }

  view(): TemplateResult {
    document.title = 'Hosts · Holdover';
    // The newest first.
    const all = (this.#hosts ?? []).filter(({ labels }) => !(VIEW_LABEL in labels)).reverse();
    const hosts = all.filter((host) => textOf(host).includes(this.#wanted.trim().toLowerCase()));
    return html`
      <header class="head"><h1>Hosts</h1>
        <p class="soft" role="status">${this.#problem ?? (this.#hosts === null ? 'Reading …' : count(all.length, 'host'))}</p></header>
      ${this.#acting.shown()}
      ${this.#making()}
      ${
        this.#hosts === null
          ? nothing
          : html`
        <div class="tools"><label>Find <input type="search" .value=${this.#wanted} placeholder="name or label" @input=${this.#want} /></label></div>
        ${table(
          'Hosts',
          ['Host', 'State', 'Kernel', 'Hazards', 'Labels', 'Made', 'Action'],
          hosts.map((host) => this.#row(host)),
          all.length === 0 ? 'There is none yet: make one above.' : 'None is found.',
        )}`
      }`;
  }

  #row(host: ListedHost): (TemplateResult | string | number)[] {
    const { id, name, state, kernel, hazards, labels, created, damage, setAside } = host;
    const isDamaged = damage !== null || setAside !== null;
    return [
      html`<a href=${hashOf(routeTo(id))}>${name ?? id}</a>${name === null || name === id ? '' : html` <span class="soft">${id}</span>`}`,
      html`<span class=${state === 'running' && !isDamaged ? '' : 'bad'}>${isDamaged ? 'damaged' : (state ?? '–')}</span>`,
      kernel ?? '–',
      hazards === null ? '–' : hazards === 0 ? '0' : html`<span class="bad">${hazards}</span>`,
      Object.entries(labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(', '),
      html`<time datetime=${created}>${new Date(created).toLocaleString()}</time>`,
      this.#acting.button({
        label: 'Delete',
        asked: { method: 'DELETE', path: ofHost(id) },
        sure: `Delete ${name ?? id} for good?`,
      }),
    ];
  }

  #making(): TemplateResult {
    const body = { preset: this.#preset, ...(this.#name !== '' && { name: this.#name }) };
    const described = { topology: { text: this.#text }, ...(this.#name !== '' && { name: this.#name }) };
    return html`<section class="making" aria-labelledby="making"><h2 id="making">Make a host</h2>
      <div class="tools">
        <label>Machine <select @change=${this.#choose}>${this.#presets.map(
          ({ name, functions }) =>
            html`<option value=${name} ?selected=${name === this.#preset}>${name} (${count(functions, 'function')})</option>`,
        )}</select></label>
        <label>Name <input maxlength="64" .value=${this.#name} @input=${this.#call} placeholder="as you like" /></label>
        ${this.#acting.button<{ id: string }>({ label: 'Make it', asked: { method: 'POST', path: '/v1/hosts', body }, done: open })}
      </div>
      <p class="soft small">${this.#presets.find(({ name }) => name === this.#preset)?.about}</p>
      <details><summary>Of a real machine: paste what it prints, or take a file</summary>
        <label class="block">What <code>find /sys/kernel/iommu_groups -type l</code>, the kernel’s log or <code>lspci -nn</code> by group says
          <textarea rows="6" spellcheck="false" .value=${this.#text} @input=${this.#paste}></textarea></label>
        <div class="tools">
          ${this.#acting.button<{ id: string }>({ label: 'Make it of this text', asked: { method: 'POST', path: '/v1/hosts', body: described }, isOff: this.#text.trim() === '', done: open })}
          <label>A file that Export has given <input type="file" accept=".json,application/json" @change=${this.#import} /></label>
        </div>
      </details></section>`;
  }

  readonly #want = ({ target }: Event): void => {
    this.#wanted = (target as HTMLInputElement).value;
    redraw();
  };
  readonly #choose = ({ target }: Event): void => {
    this.#preset = (target as HTMLSelectElement).value;
    redraw();
  };
  readonly #call = ({ target }: Event): void => {
    this.#name = (target as HTMLInputElement).value;
    redraw();
  };
  readonly #paste = ({ target }: Event): void => {
    this.#text = (target as HTMLTextAreaElement).value;
    redraw();
  };
  readonly #import = async ({ target }: Event): Promise<void> => {
    const [file] = (target as HTMLInputElement).files ?? [];
    if (file === undefined) return;
    const asked = { method: 'POST', path: '/v1/hosts/import', body: await file.text() } as const;
    await this.#acting.run<{ id: string }>({ label: `Import of ${file.name}`, asked, done: open });
  };
}

/** What was made is looked at. */
const open = ({ id }: { id: string }): void => go(routeTo(id));

const textOf = ({ id, name, labels }: ListedHost): string =>
  `${id} ${name ?? ''} ${Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ')}`.toLowerCase();
