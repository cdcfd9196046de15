/** The thread of a lane that serves HTTP: its own hosts it runs without another thread, and those of other lanes it asks there. */
import type { ListenOptions } from 'node:net';
import { MessageChannel } from 'node:worker_threads';
import type { FastifyListenOptions } from 'fastify';
import type { Config } from './config.ts';
import { buildApp } from './http/app.ts';
import { Common, type CommonMemory } from './http/common.ts';
import type { Peers } from './http/peers.ts';
import { Admission } from './lanes/admission.ts';
import { Aside } from './lanes/aside.ts';
import { LaneClient, type LaneDoor } from './lanes/client.ts';
import { makeLaneError, ThreadDied } from './lanes/errors.ts';
import { CANNOT_SHARE, type LaneRequest, type LaneSettings, type ListenAnswer, passedOn } from './lanes/messages.ts';
import { say, startLane, toldSettings } from './lanes/thread.ts';
import { createLog } from './log.ts';
import { DamageBook, type DamageNews } from './store/store.ts';
import type { Client } from './threads/client.ts';
import { Caller } from './threads/ports.ts';

interface ServerSettings extends LaneSettings {
  config: Config;
  fileKey: string;
  /** How many share the hosts, and serve. */
  lanes: number;
  common: CommonMemory;
  damage: readonly DamageNews[];
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

  ask<Value>(request: LaneRequest, client?: Client): Promise<Value> {
    return this.#caller.ask<Value>(...passedOn(request), client);
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
const { config, fileKey, lane, lanes: count } = settings;
const log = await createLog(config);
const damage = new DamageBook();
for (const news of settings.damage) damage.hear(news);
damage.onNews = (news) => say({ damage: news });
/** By number. */
const others = new Map<number, OtherLane>();

const NOBODY = { isGone: false };
const own: LaneDoor = {
  admission: new Admission(),
  ask: <Value>(request: LaneRequest, from?: Client) => thread.answer(request, from ?? NOBODY) as Promise<Value>,
};

function doorTo(number: number): LaneDoor {
  if (number === lane) return own;
  const other = new OtherLane(number);
  others.set(number, other);
  return other;
}

const aside = new Aside(settings.aside);
const lanes = new LaneClient({
  lanes: Array.from({ length: count }, (_, number) => doorTo(number)),
  large: (index) => doorTo(count + index),
  own: lane,
  aside,
  stop: async () => say('stop lanes'),
});
for (const hostId of settings.large) lanes.hear({ moved: hostId });
const peers: Peers = { common: new Common(settings.common, lane), tell: say, hear() {} };

const thread = startLane(settings, {
  log,
  aside,
  onDamage: (found) => void damage.add(found),
  onNews(news) {
    lanes.hear(news);
    peers.hear(news);
    // What a host takes is told again and again, and nobody else wants to know.
    if (count > 1 || !('use' in news)) say(news);
  },
  onTold(told) {
    if ('died' in told) others.get(told.died)?.died();
    else {
      lanes.hear(told);
      if ('damage' in told) damage.hear(told.damage);
    }
    peers.hear(told);
  },
});

/** Its packages are many, and most services tell nobody. */
async function build(): ReturnType<typeof buildApp> {
  const { dev, traces } = config;
  const spans = traces === null ? undefined : new (await import('./http/spans.ts')).Spans(traces, log);
  return await buildApp({ config, fileKey, directory: { ...thread.store, damage }, lanes, peers, log, dev, spans });
}

const app = build();

/** It may be asked more than once while it starts. */
let listening: Promise<ListenAnswer> | undefined;

async function answer(request: LaneRequest): Promise<unknown> {
  if (request.ask !== 'listen') return await (await app).close();
  listening ??= listen(request.host, request.port, count > 1);
  const answer = await listening;
  if (!('address' in answer)) listening = undefined;
  return answer;
}

/** `reusePort`: with other lanes; where the system has no way to do that, the first one listens alone. */
async function listen(host: string, port: number, reusePort: boolean): Promise<ListenAnswer> {
  try {
    // Fastify's type does not know `reusePort`, which it passes on to Node.
    const options: FastifyListenOptions & ListenOptions = { host, port, reusePort };
    return { address: await (await app).listen(options) };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === CANNOT_SHARE && lane === 0 && reusePort) return await listen(host, port, false);
    return { code, message };
  }
}

thread.serve(settings.port, answer);
say('ready');
