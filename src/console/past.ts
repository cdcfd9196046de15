/** The host as it was behind one of its commands: a copy is looked at, which is deleted when nobody does any more. */
import type { DeviceView } from '../host/views.ts';
import { Answers } from './answers.ts';
import { type Client, ofHost } from './client.ts';
import { redraw } from './redraw.ts';

/** By which a list of hosts can leave them out. */
export const VIEW_LABEL = 'holdover-console';
/** In seconds: if the page has no time to delete it. */
const KEPT = 900;

export class Past {
  readonly at: number;
  answers: Answers | null = null;
  error: Error | null = null;
  readonly #client: Client;
  #isClosed = false;

  constructor(client: Client, host: string, at: number) {
    this.#client = client;
    this.at = at;
    void this.#copy(host);
    addEventListener('pagehide', this.#onHide);
  }

  get devices(): DeviceView[] | null {
    return this.answers?.all<DeviceView>('/devices').value ?? null;
  }

  close(): void {
    this.#isClosed = true;
    removeEventListener('pagehide', this.#onHide);
    if (this.answers !== null) this.#delete(this.answers.host);
  }

  readonly #onHide = (): void => this.close();

  async #copy(from: string): Promise<void> {
    try {
      const labels = { [VIEW_LABEL]: 'view' };
      const body = { from, at: this.at, name: `${from} at ${this.at}`, labels, ttlSeconds: KEPT };
      const { id } = await this.#client.ask<{ id: string }>({ method: 'POST', path: '/v1/hosts', body });
      if (this.#isClosed) return this.#delete(id);
      this.answers = new Answers(this.#client, id, 'as it was');
    } catch (error) {
      this.error = error as Error;
    }
    redraw();
  }

  #delete(id: string): void {
    this.#client.ask({ method: 'DELETE', path: ofHost(id) }).catch(() => {});
  }
}
