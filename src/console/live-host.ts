/** A host as it is now, and all it has told: read once, and then as it happens. */
import type { DeviceView, EngineView, HostView } from '../host/views.ts';
import { History, type Timeline } from '../timeline/rows.ts';
import { type Client, ofHost, Refused } from './client.ts';
import { redraw } from './redraw.ts';

export interface HostNow extends HostView {
  id: string;
  name: string | null;
  labels: Record<string, string>;
  expiresAt: string | null;
  digest?: string;
  damage: unknown;
  setAside: unknown;
}

/** `cut`: the connection has ended, and is made again; `gone`: there is no such host (any more). */
export type Link = 'reading' | 'live' | 'cut' | 'gone' | 'refused';

/** Between two looks at the host while it tells something, and while it tells nothing; until it is asked again where nobody answers. */
const LOOK_MS = 250;
const REST_MS = 3000;
const AGAIN_MS = 1000;

export class LiveHost {
  readonly client: Client;
  readonly id: string;
  link: Link = 'reading';
  /** Why it is `refused`, or `cut`. */
  problem: Error | null = null;
  host: HostNow | null = null;
  /** The version of `host`, and with it of all that can be asked of it. */
  version = '';
  devices: DeviceView[] = [];
  engines: EngineView[] = [];
  /** How many of its events are hazards. */
  hazards = 0;
  #history = new History();
  #timeline: Timeline | null = null;
  readonly #stop = new AbortController();
  #following = new AbortController();
  /** While it is looked at. */
  #look: Promise<void> | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(client: Client, id: string) {
    this.client = client;
    this.id = id;
    document.addEventListener('visibilitychange', this.#onVisibility);
    void this.#live();
    void this.touch();
  }

  get events(): History['events'] {
    return this.#history.events;
  }

  get timeline(): Timeline {
    this.#timeline ??= this.#history.timeline(this);
    return this.#timeline;
  }

  /** Something was done to it: what it is from now on is read, also where it is being read already. Resolves when it has been. */
  async touch(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#look;
    this.#look ??= this.#read();
    await this.#look;
  }

  close(): void {
    document.removeEventListener('visibilitychange', this.#onVisibility);
    clearTimeout(this.#timer);
    this.#stop.abort();
    this.#following.abort();
  }

  /** A page that nobody sees keeps no connection: a browser has six of them for all its pages. */
  readonly #onVisibility = (): void => {
    if (document.hidden) this.#following.abort();
    else void this.touch();
  };

  async #live(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted && this.link !== 'gone' && this.link !== 'refused') {
      await seen(signal);
      this.#following = new AbortController();
      try {
        await this.#readAll();
        const { signal: ends } = this.#following;
        for await (const told of this.client.follow(ofHost(this.id, '/events'), this.events.at(-1)?.id ?? null, ends)) {
          this.#to('live');
          if (told === null) {
            this.#forget();
            break;
          }
          this.#tell(told);
        }
        // It ends when the host is deleted, too.
        if (!signal.aborted) void this.touch();
      } catch (error) {
        if (signal.aborted) return;
        this.#fail(error as Error);
      }
      if (!document.hidden) await pause(AGAIN_MS);
    }
  }

  /** What has been told so far comes by pages, which is sooner. */
  async #readAll(): Promise<void> {
    const last = this.events.at(-1)?.id;
    const below = last === undefined ? '' : `?after=${last}`;
    for await (const page of this.client.pages<HostEventOf>(ofHost(this.id, `/events${below}`))) this.#tell(page);
  }

  #tell(told: HostEventOf[]): void {
    if (told.length === 0) return;
    this.#history.add(told);
    this.hazards += told.filter(({ kind }) => kind === 'hazard').length;
    this.#timeline = null;
    this.#soon(LOOK_MS);
    redraw();
  }

  /** Some of the events are no longer kept: they are read from the oldest on. */
  #forget(): void {
    this.#history = new History();
    this.hazards = 0;
  }

  #soon(milliseconds: number): void {
    if (this.#look !== null) return;
    clearTimeout(this.#timer);
    if (!this.#stop.signal.aborted && !document.hidden) this.#timer = setTimeout(() => this.touch(), milliseconds);
  }

  async #read(): Promise<void> {
    const before = this.events.length;
    try {
      const asked = { method: 'GET', path: ofHost(this.id) } as const;
      const { text, version } = await this.client.read(asked, this.version);
      if (text !== '') {
        const [devices, engines] = await Promise.all([
          this.client.all<DeviceView>(ofHost(this.id, '/devices')),
          this.client.whole<EngineView>(ofHost(this.id, '/engines')),
        ]);
        this.host = JSON.parse(text);
        this.version = version ?? '';
        this.devices = devices;
        this.engines = engines;
        this.#timeline = null;
        redraw();
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#fail(error as Error);
    }
    this.#look = null;
    if (this.link !== 'gone' && this.link !== 'refused') this.#soon(this.events.length > before ? LOOK_MS : REST_MS);
  }

  #fail(error: Error): void {
    this.problem = error;
    if (error.name === 'AbortError') return;
    if (error instanceof Refused && error.problem.status === 410) this.#forget();
    else if (error instanceof Refused && error.problem.status === 404) this.#to('gone');
    else if (error instanceof Refused && error.problem.status < 429) this.#to('refused');
    else this.#to('cut');
  }

  #to(link: Link): void {
    if (this.link === link) return;
    this.link = link;
    redraw();
  }
}

type HostEventOf = History['events'][number];

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Resolves when somebody sees the page, or nobody will any more. */
function seen(signal: AbortSignal): Promise<void> {
  if (!document.hidden || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener('visibilitychange', () => resolve(), { once: true, signal });
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
