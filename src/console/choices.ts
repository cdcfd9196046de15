/** What the reader of a view has opened, typed and chosen there, each by its name. */
import { html, nothing, type TemplateResult } from 'lit-html';
import { redraw } from './redraw.ts';

interface Field {
  label: string;
  /** What is in it before anything was typed. */
  first?: string;
  type?: 'text' | 'search' | 'number';
  size?: number;
  placeholder?: string;
  /** The id of a datalist. */
  list?: string;
}

export class Choices {
  #host = '';
  readonly #open = new Map<string, boolean>();
  readonly #typed = new Map<string, string>();
  readonly #most = new Map<string, number>();

  /** Of the host that is shown: what was chosen at another one is forgotten. */
  of(host: string): void {
    if (this.#host === host) return;
    this.#host = host;
    this.#open.clear();
    this.#typed.clear();
    this.#most.clear();
  }

  isOpen(name: string, first = false): boolean {
    return this.#open.get(name) ?? first;
  }

  open(name: string, isOpen: boolean): void {
    this.#open.set(name, isOpen);
    redraw();
  }

  /** How many of something are shown: so many at first, and with each `showMore`. */
  most(name: string, atOnce: number): number {
    return this.#most.get(name) ?? atOnce;
  }

  showMore(name: string, atOnce: number): void {
    this.#most.set(name, this.most(name, atOnce) + atOnce);
    redraw();
  }

  typed(name: string, first = ''): string {
    return (this.#typed.get(name) ?? first).trim();
  }

  input(name: string, { label, first, type = 'text', size = 14, placeholder, list }: Field): TemplateResult {
    return html`<label>${label} <input type=${type} size=${size} min=${type === 'number' ? 1 : nothing} list=${list ?? nothing}
      placeholder=${placeholder ?? nothing} spellcheck="false" autocomplete="off" .value=${this.#typed.get(name) ?? first ?? ''} @input=${this.#take(name)} /></label>`;
  }

  /** `options`: what is chosen, and what is said of it. */
  select(name: string, label: string, options: readonly (readonly [value: string, text: string])[]): TemplateResult {
    const chosen = this.typed(name, options[0]?.[0]);
    return html`<label>${label} <select @change=${this.#take(name)}>${options.map(
      ([value, text]) => html`<option value=${value} .selected=${value === chosen}>${text}</option>`,
    )}</select></label>`;
  }

  #take(name: string): (event: Event) => void {
    return ({ target }) => {
      this.#typed.set(name, (target as HTMLInputElement).value);
      redraw();
    };
  }
}
