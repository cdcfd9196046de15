import { html, type TemplateResult } from 'lit-html';
import type { Seen } from './seen.ts';

export const preflightView = (_seen: Seen): TemplateResult => html`<p>Nothing yet.</p>`;
