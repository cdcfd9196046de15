/** The thread of the lane that serves HTTP: its own hosts it runs without another thread, and those of other lanes it asks there. */
import { MessageChannel, type Transferable } from 'node:worker_threads';
import type { Config } from './config.ts';
import { buildApp } from './http/app.ts';
import { Admission } from './lanes/admission.ts';
import { Aside, type KnownAside } from './lanes/aside.ts';
import { LaneClient, type LaneDoor } from './lanes/client.ts';
import { makeLaneError, ThreadDied } from './lanes/errors.ts';
import type { Lanes } from './lanes/lanes.ts';
import type { LaneRequest, LaneSettings, ListenAnswer } from './lanes/messages.ts';
import { say, startLane, toldSettings } from './lanes/thread.ts';
import { createLog } from './log.ts';
import { DamageBook, type DamageNews } from './store/store.ts';
import type { Client } from './threads/client.ts';
import { Caller } from './threads/ports.ts';

interface ServerSettings extends LaneSettings {
  config: Config;
  /** How many share the hosts. */
  lanes: number;
  aside: readonly KnownAside[];
  news: readonly DamageNews[];
}

/** The lane of another thread, which the one that has started both connects with this one. */
class OtherLane implements LaneDoor {
  readonly admission = new Admission();
  readonly #lane: number;
  #caller: Caller<LaneRequest>;

  constructor(lane: number) {
    this.#lane = lane;
    this.#caller = this.#connect();
  }

  ask<Value>(request: LaneRequest, transfer?: readonly Transferable[], client?: Client): Promise<Value> {
    return this.#caller.ask<Value>(request, transfer, client);
  }

  /** Its thread has ended: another one is asked from now on. */
  died(): void {
    const died = this.#caller;
    this.#caller = this.#connect();
    died.fail(new ThreadDied(`lane ${this.#lane} ended`));
  }

  #connect(): Caller<LaneRequest> {
    const { port1, port2 } = new MessageChannel();
    say({ connect: this.#lane, port: port2 }, [port2]);
    return new Caller<LaneRequest>(port1, 'plain', makeLaneError);
  }
}

const settings = await toldSettings<ServerSettings>();
const { config } = settings;
const log = await createLog(config);
const aside = new Aside(settings.aside);
const damage = new DamageBook();
for (const news of settings.news) damage.hear(news);
damage.onNews = (news) => say({ news });
/** By number. */
const others = new Map<number, OtherLane>();

const thread = startLane(
  settings,
  {
    log,
    onDamage: (found) => void damage.add(found),
    onUse: (hostId, use) => client.noteUse(hostId, use, false),
    onMove: (hostId) => client.noteMove(hostId),
  },
  (told) => {
    if ('died' in told) others.get(told.died)?.died();
    else if ('use' in told) client.noteUse(told.hostId, told.use, told.inLarge);
    else if ('removed' in told) client.forget(told.removed);
    else if ('aside' in told) aside.hear(told.aside);
    else damage.hear(told.news);
  },
);

const NOBODY = { isGone: false };
const own: LaneDoor = {
  admission: new Admission(),
  ask: <Value>(request: LaneRequest, _transfer?: readonly Transferable[], from?: Client) =>
    thread.answer(request, from ?? NOBODY) as Promise<Value>,
};

function doorTo(lane: number): LaneDoor {
  if (lane === settings.lane) return own;
  const other = new OtherLane(lane);
  others.set(lane, other);
  return other;
}

const client = new LaneClient({
  lanes: Array.from({ length: settings.lanes }, (_, lane) => doorTo(lane)),
  large: (index) => doorTo(settings.lanes + index),
  aside,
});
const lanes: Lanes = {
  create: (row) => client.create(row),
  execute: (hostId, command, from) => client.execute(hostId, command, from),
  batch: (hostId, command, payload, from) => client.batch(hostId, command, payload, from),
  query: (hostId, query, from) => client.query(hostId, query, from),
  remove: (hostId) => client.remove(hostId),
  use: (hostId) => client.use(hostId),
  setAside: (hostId) => client.setAside(hostId),
  retry(hostId) {
    const left = client.retry(hostId);
    if (left === 0) say({ retried: hostId });
    return left;
  },
  async stop() {
    client.isStopping = true;
    say('stop lanes');
  },
};

const app = buildApp({ config, directory: { ...thread.store, damage }, lanes, log, dev: config.dev });

async function answer(request: LaneRequest): Promise<unknown> {
  if (request.ask === 'listen') return await listen(request.host, request.port);
  return await (await app).close();
}

async function listen(host: string, port: number): Promise<ListenAnswer> {
  try {
    return { address: await (await app).listen({ host, port }) };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return { code, message };
  }
}

thread.serve(settings.port, answer);
say('ready');
