import { html, type TemplateResult } from 'lit-html';
import type { Client } from './client.ts';

export class GuideView {
  readonly client: Client;
  readonly host: string;
  readonly onAsked: () => void;

  constructor(client: Client, host: string, onAsked: () => void) {
    this.client = client;
    this.host = host;
    this.onAsked = onAsked;
  }

  view(): TemplateResult {
    return html`<p>Nothing yet.</p>`;
  }
}
