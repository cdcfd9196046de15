/** Who is signed in: the key is kept for this tab of the browser, and goes with it. */
import { Client, Refused } from './client.ts';
import { redraw } from './redraw.ts';

const KEPT = 'holdover-key';

export class Session {
  client: Client | null = null;
  /** Why nobody is signed in who wanted to be. */
  refusal: string | null = null;
  isAsking = false;

  constructor() {
    const key = sessionStorage.getItem(KEPT);
    if (key !== null) this.client = new Client(key);
  }

  async signIn(key: string): Promise<void> {
    const client = new Client(key);
    this.refusal = null;
    this.isAsking = true;
    redraw();
    try {
      await client.ask({ method: 'GET', path: '/v1/hosts?limit=1' });
      sessionStorage.setItem(KEPT, key);
      this.client = client;
    } catch (error) {
      this.refusal =
        error instanceof Refused && error.isKeyRefused ? 'No tenant has this key.' : (error as Error).message;
    }
    this.isAsking = false;
    redraw();
  }

  signOut(refusal: string | null = null): void {
    sessionStorage.removeItem(KEPT);
    this.client = null;
    this.refusal = refusal;
    redraw();
  }
}
