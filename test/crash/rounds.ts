/**
 * Rounds of random load, each with a death in the middle of it. After each one the journal of every host is held
 * against what its clients were answered, and its state against a host to which the same has happened without deaths.
 */
import assert from 'node:assert/strict';
import type { DeviceView } from '../../src/host/views.ts';
import { openHostStore } from '../../src/store/sqlite/host-store.ts';
import { Fleet } from './fleet.ts';
import { JournalCheck } from './journal.ts';
import { CrashHost, HOST_BODY, Load } from './load.ts';
import { Model, type ModelHost, readAll } from './model.ts';
import { Random } from './random.ts';
import { assertSame, differenceOf, stateOf } from './state.ts';
import { Statistics } from './statistics.ts';
import { Ends, LaneVictim, ProcessVictim } from './victims.ts';
import type { Wire } from './wire.ts';

export interface Run {
  rounds: number;
  seed: number;
  /** What dies: the process, or threads of it. */
  kill: 'process' | 'lane';
  /** Told after each round. */
  tell?: (line: string) => void;
}

const HOSTS = 3;
/** A host lives so many rounds. */
const LIFE = 15;
const MOST_ANSWERS = 500;
const MOST_MILLISECONDS = 600;
/** In which a kexec begins and ends. */
const KEXEC_MILLISECONDS = 12;

interface Tested {
  host: CrashHost;
  model: ModelHost;
  /** The last command of the journal that was looked at. */
  sequence: number;
  age: number;
}

/** Throws at the first thing that is not as it must be. */
export async function run({ rounds, seed, kill, tell = () => {} }: Run): Promise<Statistics> {
  const ends = new Ends();
  const statistics = new Statistics();
  try {
    const model = await Model.start(await ends.directory());
    ends.after(() => model.stop());
    const directory = await ends.directory();
    const bench = new Bench(seed, model, directory, statistics);
    const play = kill === 'process' ? await processRounds(bench, ends) : await laneRounds(bench, ends);
    for (let round = 0; round < rounds; round += 1) {
      const random = new Random(seed, kill, round);
      const what = await play(random);
      tell(`${kill} round ${round}: ${what}`);
      statistics.rounds += 1;
    }
  } finally {
    await ends.end();
  }
  return statistics;
}

type Play = (random: Random) => Promise<string>;

async function processRounds(bench: Bench, ends: Ends): Promise<Play> {
  const victim = new ProcessVictim(bench.directory);
  ends.after(() => victim.stop('SIGKILL'));
  await victim.start(1);
  return async (random) => {
    await bench.prepare(victim.wire, random);
    const how = random.weighted([
      [8, 'kill'],
      [1, 'stop'],
      [1, 'rest'],
    ] as const);
    const load = new Load();
    const work = bench.run(victim.wire, load);
    await Promise.race([moment(random, load), work]);
    let states: Map<string, unknown>[] | null = null;
    if (how === 'rest') {
      load.end();
      await work;
      states = await bench.states(victim.wire);
    }
    const stopped = victim.stop(how === 'kill' ? 'SIGKILL' : 'SIGTERM');
    // Who waits for a reboot that nobody ends need not wait.
    stopped.then(() => load.end());
    await Promise.all([work, stopped]);
    const lanes = random.pick([1, 2, 4])!;
    // With room for nothing hosts leave memory all the time, and come back.
    const room = random.chance(0.5);
    await victim.start(lanes, room);
    if (states !== null) bench.compareStates(await bench.states(victim.wire), states);
    await bench.check(victim.wire);
    return `${how} after ${load.answers} answers; ${lanes} lanes${room ? '' : ', without room for hosts,'} from now on`;
  };
}

async function laneRounds(bench: Bench, ends: Ends): Promise<Play> {
  let victim: LaneVictim | null = null;
  ends.after(() => victim?.stop());
  return async (random) => {
    // Sometimes in another number of lanes, with a clean stop in between.
    if (victim !== null && random.chance(0.2)) {
      await victim.stop();
      victim = null;
    }
    victim ??= await LaneVictim.start(bench.directory, random.between(1, 3), random.chance(0.5));
    const { wire, pool, store } = victim;
    await bench.prepare(wire, random);
    const load = new Load();
    const work = bench.run(wire, load);
    const deaths: string[] = [];
    for (let death = random.between(1, 2); death > 0; death -= 1) {
      await Promise.race([moment(random, load), work]);
      const hostId = random.pick(bench.hosts)!.host.id;
      const writer = random.chance(0.2);
      deaths.push(writer ? 'writer' : 'lane');
      await (writer ? store.killWriter() : pool.kill(hostId));
    }
    // The hosts that are left go on for a while.
    await Promise.race([load.after(random.between(1, 100)), work]);
    load.end();
    await work;
    await bench.check(wire);
    return `killed ${deaths.join(' and ')} among ${load.answers} answers`;
  };
}

/** When to kill: after so many answers, so much time, or in a kexec. */
async function moment(random: Random, load: Load): Promise<void> {
  const milliseconds = random.below(MOST_MILLISECONDS);
  const answers = load.after(random.between(1, MOST_ANSWERS));
  switch (
    random.weighted([
      [5, 'answers'],
      [3, 'time'],
      [2, 'kexec'],
    ] as const)
  ) {
    case 'answers':
      return await answers;
    case 'time':
      return await Promise.race([answers, passed(milliseconds)]);
    case 'kexec':
      // Nobody may be left who asks for one.
      await Promise.race([load.reboot, answers]);
      return await passed(random.below(KEXEC_MILLISECONDS));
  }
}

const passed = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The hosts of both services, and what is done with them in each round. */
class Bench {
  readonly directory: string;
  hosts: Tested[] = [];
  readonly #seed: number;
  readonly #model: Model;
  readonly #statistics: Statistics;
  readonly #fleet: Fleet;
  #number = 0;

  constructor(seed: number, model: Model, directory: string, statistics: Statistics) {
    this.directory = directory;
    this.#seed = seed;
    this.#model = model;
    this.#statistics = statistics;
    this.#fleet = new Fleet(new Random(seed, 'fleet'));
  }

  /** So many hosts; the old ones go. */
  async prepare(wire: Wire, random: Random): Promise<void> {
    for (const old of this.hosts.filter(({ age }) => age >= LIFE)) {
      const answer = await wire.ask({ method: 'DELETE', path: `/v1/hosts/${old.host.id}` });
      assert.equal(answer?.status, 204);
      await old.model.delete();
    }
    this.hosts = this.hosts.filter(({ age }) => age < LIFE);
    while (this.hosts.length < HOSTS) {
      const name = `host${this.#number++}`;
      const body = { ...HOST_BODY, name };
      const answer = await wire.ask({ method: 'POST', path: '/v1/hosts', body });
      assert.equal(answer?.status, 201);
      const { id, devices } = answer.body as { id: string; devices: DeviceView[] };
      const host = new CrashHost(name, id, devices, this.#seed);
      // Not all of them go at once.
      const age = this.#number <= HOSTS ? random.below(LIFE) : 0;
      this.hosts.push({ host, model: await this.#model.host(body), sequence: 0, age });
    }
  }

  async run(wire: Wire, load: Load): Promise<void> {
    const hosts = Promise.all(this.hosts.map(({ host }) => host.run(wire, load))).then(() => load.end());
    await Promise.all([hosts, this.#fleet.run(wire, load)]);
  }

  states(wire: Wire): Promise<Map<string, unknown>[]> {
    return Promise.all(this.hosts.map(({ host }) => stateOf((path) => wire.get(`/v1/hosts/${host.id}${path}`))));
  }

  compareStates(found: Map<string, unknown>[], expected: Map<string, unknown>[]): void {
    for (const [index, { host }] of this.hosts.entries()) {
      assert.equal(differenceOf(found[index]!, expected[index]!), null, `${host.name} before and after a clean stop`);
    }
  }

  /** The service is up, and nobody asks for anything. */
  async check(wire: Wire): Promise<void> {
    const store = openHostStore(this.directory, { write: () => Promise.reject(new Error('this only reads')) });
    try {
      for (const tested of this.hosts) {
        const { host, model } = tested;
        await host.inspect(wire);
        for (const queue of host.asked.values()) for (const operation of queue) this.#statistics.note(operation);
        const rows = await readAll((after) => store.journal.read(host.id, after), tested.sequence);
        assertSame(
          rows.map(({ sequence }) => sequence),
          rows.map((_, index) => tested.sequence + index + 1),
          'the journal has no gaps',
        );
        const found = new JournalCheck(host.asked).look(rows);
        for (const one of found) this.#statistics.noteFound(one);
        await model.repeat(found);
        tested.sequence = rows.at(-1)?.sequence ?? tested.sequence;
        tested.age += 1;
        const [state, expected] = [
          await stateOf((path) => wire.get(`/v1/hosts/${host.id}${path}`)),
          await stateOf(model.look),
        ];
        assert.equal(differenceOf(state, expected), null, `the state of ${host.name}`);
        this.#statistics.states += 1;
      }
    } finally {
      await store.close();
    }
    await this.#fleet.check(wire, this.#model);
  }
}
