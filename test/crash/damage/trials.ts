/**
 * Bytes of a data directory are hurt, and a service is started on it: it must not end or go wrong, each host must answer
 * what it did before, or say that it is damaged, and whatever is said must tell what to do.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DirectoryApp, serveDirectory } from '../../support/directory-app.ts';
import { ADMIN_KEY } from '../../support/keys.ts';
import { Random } from '../random.ts';
import { differenceOf, stateOf } from '../state.ts';
import { type Injury, injure } from './injuries.ts';
import { copyData, KEY, makePatients } from './patients.ts';

/** How trials came out: how many hosts in each way, or services that did not start, saying why. */
export const OUTCOMES = [
  'whole',
  'whole, and more is said',
  'damaged, and says so',
  'gone, and said',
  'not started, saying why',
] as const;

export type Outcome = (typeof OUTCOMES)[number];

export type Tally = Map<Outcome, number>;

const WHAT_TO_DO =
  /put back a copy|a copy .* put back|newer one put back|delete it|nothing has to be done|deleted while|is not a database: move/;
/** Errors of the service itself, which damage must not lead to. */
const FAULTS = /internal-error|host-fault|unavailable/;

type State = Map<string, unknown>;

interface Word {
  host: string | null;
  kind: string;
  what: string;
}

/** A request that was refused. */
class Refusal extends Error {
  readonly status: number;
  readonly detail: string;

  constructor(path: string, status: number, text: string) {
    super(`GET ${path}: ${status} ${text}`);
    this.status = status;
    this.detail = text;
  }
}

export class Trials {
  readonly #directory: string;
  readonly #hosts: Map<string, string>;
  readonly #healthy: Map<string, State>;

  private constructor(directory: string, hosts: Map<string, string>, healthy: Map<string, State>) {
    this.#directory = directory;
    this.#hosts = hosts;
    this.#healthy = healthy;
  }

  static async prepare(): Promise<Trials> {
    const directory = mkdtempSync(join(tmpdir(), 'holdover-damage-'));
    const folder = (name: string): string => mkdtempSync(join(directory, `${name}-`));
    const [killed, stopped] = [folder('killed'), folder('stopped')];
    const hosts = await makePatients(folder('work'), killed, stopped);
    const healthy = new Map<string, State>();
    const trials = new Trials(directory, hosts, healthy);
    trials.#sources = { killed, stopped };
    for (const source of [killed, stopped])
      await trials.#serve(source, null, async (app) => {
        for (const [name, id] of hosts) {
          const state = await look(app, id);
          assert.ok(state instanceof Map, String(state));
          const before = healthy.get(name);
          if (before !== undefined) assert.equal(differenceOf(state, before), null, `${name} after a kill and a stop`);
          healthy.set(name, state);
        }
        assert.deepEqual(await wordsOf(app), []);
      });
    return trials;
  }

  #sources = { killed: '', stopped: '' };

  close(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** One trial. Throws where something is served that is wrong, or said that does not help. */
  async run(injury: Injury, seed: number, number: number, tally: Tally): Promise<void> {
    const random = new Random(seed, injury, number);
    const needsWal = injury === 'wal' || (injury === 'database' && random.chance(0.3));
    const source = needsWal ? this.#sources.killed : this.#sources.stopped;
    const note = (outcome: Outcome): void => void tally.set(outcome, (tally.get(outcome) ?? 0) + 1);
    let done = 'nothing';
    const hurt = (directory: string): void => {
      done = injure(directory, injury, random);
    };
    try {
      await this.#serve(source, hurt, (app) => this.#judge(app, note)).catch((error: Error) => {
        if (error.name !== 'StoreUnavailable' && error.name !== 'StoreDamaged') throw error;
        assert.match(error.message, WHAT_TO_DO);
        assert.match(error.message, /damaged|not a database/);
        note('not started, saying why');
      });
    } catch (error) {
      throw new Error(`${injury}, trial ${number}, ${needsWal ? 'killed' : 'stopped'}: ${done}`, { cause: error });
    }
  }

  async #serve(
    source: string,
    hurt: ((directory: string) => void) | null,
    use: (app: DirectoryApp) => Promise<void>,
  ): Promise<void> {
    const directory = mkdtempSync(join(this.#directory, 'trial-'));
    try {
      copyData(source, directory);
      hurt?.(directory);
      const app = await serveDirectory(directory, KEY);
      await use(app).finally(() => app.stop());
    } finally {
      rmSync(directory, { recursive: true });
    }
  }

  async #judge(app: DirectoryApp, note: (outcome: Outcome) => void): Promise<void> {
    const before = await wordsOf(app);
    const states = new Map<string, State | Refusal>();
    for (const [name, id] of this.#hosts) states.set(name, await look(app, id));
    // What a host has found while it was looked at is said, too.
    const words = [...before, ...(await wordsOf(app))];
    for (const { what } of words) assert.match(what, WHAT_TO_DO);
    for (const [name, state] of states) {
      const id = this.#hosts.get(name)!;
      const own = words.filter(({ host, kind }) => host === id || kind === 'database' || kind === 'tenants');
      if (state instanceof Refusal) {
        assert.doesNotMatch(state.message, FAULTS, name);
        if (state.status < 500)
          assert.ok(own.length > 0, `${name} is not there, and nobody says why: ${state.message}`);
        note('gone, and said');
        continue;
      }
      const difference = differenceOf(withoutWords(state), withoutWords(this.#healthy.get(name)!));
      if (difference === null) note(own.length > 0 ? 'whole, and more is said' : 'whole');
      else {
        const { damage } = state.get('') as { damage: unknown };
        assert.ok(damage !== null, `${name} is another one, and does not say so: ${difference}`);
        note('damaged, and says so');
      }
      await this.#command(app, name, id, difference === null);
    }
  }

  /** A whole host takes commands, unless it says why not; one that does not say that it is damaged must be whole. */
  async #command(app: DirectoryApp, name: string, id: string, isWhole: boolean): Promise<void> {
    const { status, text } = await app.agent
      .post(`/v1/hosts/${id}/clock`)
      .set('authorization', `Bearer ${KEY}`)
      .send({ advance: '1' });
    if (status === 200) return;
    assert.match(text, /problems\/damaged/, `${name} ${isWhole ? 'is whole' : 'is not'}: ${status}`);
    assert.match(text, WHAT_TO_DO);
  }
}

async function get(app: DirectoryApp, path: string): Promise<unknown> {
  const answer = await app.agent.get(path).set('authorization', `Bearer ${KEY}`);
  if (answer.status >= 300) throw new Refusal(path, answer.status, answer.text);
  return answer.body;
}

async function look(app: DirectoryApp, id: string): Promise<State | Refusal> {
  try {
    return await stateOf(async (path) => (await get(app, `/v1/hosts/${id}${path}`)) as never);
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

async function wordsOf(app: DirectoryApp): Promise<Word[]> {
  const answer = await app.agent.get('/readyz').set('authorization', `Bearer ${ADMIN_KEY}`);
  if (answer.status === 200) return (answer.body as { damage: Word[] }).damage;
  assert.match(answer.text, /problems\/damaged/);
  return [{ host: null, kind: 'database', what: (answer.body as { detail: string }).detail }];
}

/** What is said of a host is no part of it. */
function withoutWords(state: State): State {
  const { damage: _, setAside: __, ...host } = state.get('') as Record<string, unknown>;
  return new Map([...state, ['', host]]);
}
