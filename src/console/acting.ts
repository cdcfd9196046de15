/** Buttons that ask something of the service, each with the line that asks the same from a shell. */
import { html, nothing, type TemplateResult } from 'lit-html';
import { type Asked, type Client, curlOf } from './client.ts';
import { redraw } from './redraw.ts';

export interface Act<Answer = unknown> {
  label: string;
  asked: Asked;
  /** What is said before something that cannot be undone. */
  sure?: string;
  isOff?: boolean;
  /** What is done with the answer. */
  done?: (answer: Answer) => void;
}

interface Notice {
  text: string;
  isBad: boolean;
}

export class Acting {
  readonly #client: Client;
  /** Called when something was asked, whatever came of it. */
  readonly #onAsked: () => void;
  #notice: Notice | null = null;
  readonly #pending = new Map<string, Promise<void>>();

  constructor(client: Client, onAsked: () => void) {
    this.#client = client;
    this.#onAsked = onAsked;
  }

  say(text: string, isBad = false): void {
    this.#notice = { text, isBad };
    redraw();
  }

  /** One after the other. What is asked already is not asked twice: people press twice. */
  async run<Answer>(act: Act<Answer>): Promise<void> {
    const { method, path } = act.asked;
    const key = `${method} ${path}`;
    if (this.#pending.has(key) || (act.sure !== undefined && !confirm(act.sure))) return;
    const asked = Promise.all(this.#pending.values()).then(() => this.#ask(act));
    this.#pending.set(key, asked);
    await asked;
    this.#pending.delete(key);
  }

  async #ask<Answer>({ label, asked, done }: Act<Answer>): Promise<void> {
    this.#notice = null;
    redraw();
    try {
      const answer = await this.#client.ask<Answer>(asked);
      this.#notice = { text: `${label}: done.${hazardsOf(answer)}`, isBad: hazardsOf(answer) !== '' };
      done?.(answer);
    } catch (error) {
      this.#notice = { text: `${label}: ${(error as Error).message}`, isBad: true };
    }
    this.#onAsked();
    redraw();
  }

  /** A button; what it asks opens beside it. */
  button<Answer>(act: Act<Answer>): TemplateResult {
    return html`<span class="act"
      ><button type="button" class=${act.sure === undefined ? '' : 'danger'} ?disabled=${act.isOff === true}
        @click=${() => this.run(act)}>${act.label}</button>${curl(act.asked)}</span
    >`;
  }

  /** What became of the last one, which screen readers read out. */
  shown(): TemplateResult {
    const notice = this.#notice;
    return html`<div class="notice" role="status" aria-live="polite">${
      notice === null
        ? nothing
        : html`<p class=${notice.isBad ? 'bad' : ''}>${notice.text}
            <button type="button" class="plain" @click=${() => this.#forget()} aria-label="Close this message">×</button></p>`
    }</div>`;
  }

  #forget(): void {
    this.#notice = null;
    redraw();
  }
}

/** The hazards that the answer tells of, in words. */
function hazardsOf(answer: unknown): string {
  const { hazards } = (answer ?? {}) as { hazards?: { message: string }[] };
  if (!Array.isArray(hazards) || hazards.length === 0 || hazards[0]?.message === undefined) return '';
  return ` Hazard: ${hazards.map(({ message }) => message).join('; ')}`;
}

const curl = (asked: Asked): TemplateResult =>
  html`<details class="curl"><summary aria-label=${`curl line of ${asked.method} ${asked.path}`}>curl</summary><code>${curlOf(asked)}</code></details>`;
