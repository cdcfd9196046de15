/** Who asks: one for anything that can be asked of the API, and one for system calls of a host that is mirrored here. */
import { setTimeout } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Random } from '../crash/random.ts';
import { faultOf } from './answers.ts';
import { Guess } from './guess.ts';
import { type Exchange, Mirror, type Outcomes } from './mirror.ts';
import { Requests } from './requests.ts';
import { type Answer, type Sent, Wire } from './wire.ts';

export interface Place {
  url: string;
  key: string;
  adminKey: string;
  /** How long an answer may take, in milliseconds. */
  slow: number;
  random: Random;
  tally: Tally;
}

export interface Tally {
  requests: number;
  calls: number;
  statuses: Map<number, number>;
  slowest: { milliseconds: number; what: string };
  outcomes: Outcomes;
  /** What has gone wrong, each with what was asked. */
  faults: string[];
}

/** So much of a body is shown. */
const SHOWN = 1000;

function show({ method, target, headers, body }: Sent): string {
  const told = headers.filter(([name]) => name !== 'authorization');
  const lines = told.map(([name, value]) => `${name}: ${value.slice(0, 200)}`);
  return [`${method} ${target.slice(0, 500)}`, ...lines, body?.toString('utf8').slice(0, SHOWN) ?? ''].join('\n  ');
}

abstract class Client {
  protected readonly place: Place;
  protected readonly wire: Wire;

  constructor(place: Place) {
    this.place = place;
    this.wire = new Wire(place.url);
  }

  /** Null where there was no answer, which is a fault. */
  protected async ask(sent: Sent, last = false): Promise<Answer | null> {
    const { tally, slow } = this.place;
    tally.requests += 1;
    let answer: Answer;
    try {
      answer = await this.wire.ask(sent, last);
    } catch (error) {
      this.fault(`no answer: ${(error as Error).message}`, sent);
      this.wire.close();
      return null;
    }
    const { status, milliseconds } = answer;
    tally.statuses.set(status, (tally.statuses.get(status) ?? 0) + 1);
    if (milliseconds > tally.slowest.milliseconds)
      tally.slowest = { milliseconds, what: `${sent.method} ${sent.target.slice(0, 200)}` };
    const fault = faultOf(sent, answer, slow);
    if (fault !== null) this.fault(`${fault}: ${status} ${answer.text.slice(0, SHOWN)}`, sent);
    return answer;
  }

  protected fault(what: string, sent: Sent): void {
    this.place.tally.faults.push(`${what}\n  ${show(sent)}`);
  }

  protected async json(
    method: string,
    target: string,
    value?: unknown,
  ): Promise<{ answer: Answer | null; sent: Sent }> {
    const body = value === undefined ? undefined : Buffer.from(JSON.stringify(value));
    const headers: [string, string][] = [
      ['host', new URL(this.place.url).host],
      ['authorization', `Bearer ${this.place.key}`],
    ];
    if (body) headers.push(['content-type', 'application/json'], ['content-length', String(body.length)]);
    const sent: Sent = { method, target, headers, ...(body && { body }) };
    return { sent, answer: await this.ask(sent) };
  }

  close(): void {
    this.wire.close();
  }
}

/** A host is asked so many times before another one is made. */
const LIFE = 400;

/** Asks anything. */
export class Anybody extends Client {
  async run(requests: number): Promise<void> {
    const { random, key, adminKey, url } = this.place;
    const guess = new Guess(random);
    const host = new URL(url).host;
    const maker = new Requests(random, guess, key, adminKey, host);
    let age = LIFE;
    for (let count = 0; count < requests; count += 1) {
      if (age >= LIFE) {
        if (count > 0) await this.json('DELETE', `/v1/hosts/${guess.host}`);
        const { answer } = await this.json('POST', '/v1/hosts', {
          preset: random.pick(['vmm-lab', 'vmm-lab', 'mock']),
        });
        guess.moveTo((JSON.parse(answer?.text || '{}') as { id?: string }).id ?? 'h-none');
        if (answer?.status === 201) guess.learn(answer.text);
        age = 0;
      }
      const { sent, operation, last } = maker.next();
      const answer = await this.ask(sent, last);
      if (
        answer !== null &&
        answer.status < 300 &&
        answer.headers.get('content-type') === 'application/json' &&
        answer.text !== ''
      )
        guess.learn(answer.text);
      // Where there is nothing, much is refused at the same place.
      if (answer?.text.includes('There is no process'))
        await this.json('POST', `/v1/hosts/${guess.host}/processes`, {});
      if (answer?.text.includes('reset the host')) await this.json('POST', `/v1/hosts/${guess.host}/reset`, {});
      // Of what is made and deleted here nothing is left.
      if (operation.operationId === 'createHost' && answer?.status === 201)
        await this.json('DELETE', `/v1/hosts/${(JSON.parse(answer.text) as { id: string }).id}`);
      age = operation.operationId === 'deleteHost' && answer?.status === 204 ? LIFE : age + 1;
    }
  }
}

/** The digest is asked for so often. */
const LOOK_AFTER = 20;

/** Asks what programs ask, of a host whose mirror says what the answers are. */
export class Programs extends Client {
  /** `most`: calls of a list. */
  async run(calls: number, most: number): Promise<void> {
    const { random, tally } = this.place;
    for (let left = calls; left > 0; ) {
      const mirror = new Mirror(random, tally.outcomes);
      const { answer } = await this.json('POST', '/v1/hosts', mirror.body);
      if (answer?.status !== 201) return;
      const { id } = JSON.parse(answer.text) as { id: string };
      const life = random.pick([30, 100, 300])!;
      for (let count = 0; count < life && left > 0; count += 1) {
        const exchange = mirror.next(most);
        left -= exchange.calls;
        tally.calls += exchange.calls;
        if (!(await this.#exchange(id, exchange))) break;
        if (count % LOOK_AFTER === 0 && !(await this.#look(id, mirror))) break;
      }
      if (left > 0) await this.json('DELETE', `/v1/hosts/${id}`);
    }
  }

  /** Whether the host and its mirror are still the same. */
  async #exchange(id: string, { method, path, body, answer: expected }: Exchange): Promise<boolean> {
    const { answer, sent } = await this.#insist(method, `/v1/hosts/${id}${path}`, body);
    if (answer === null) return false;
    // It has happened or has not.
    if (answer.status === 503) return false;
    if (expected.kind !== 'ok') {
      if (answer.status >= 400 && answer.status < 500) return true;
    } else if (answer.status < 300) {
      const found = answer.text === '' ? {} : (JSON.parse(answer.text) as { results?: unknown; hazards?: Told[] });
      const [told, shouldTell] = [messages(found.hazards), messages(expected.hazards)];
      if (!isDeepStrictEqual(told, shouldTell)) {
        this.fault(`should tell the hazards ${JSON.stringify(shouldTell)}, tells ${JSON.stringify(told)}`, sent);
        return false;
      }
      if (!path.endsWith('/calls')) return true;
      const wanted = JSON.parse(JSON.stringify(expected.value)) as { results: unknown[] };
      if (isDeepStrictEqual(found.results, wanted.results)) return true;
      const results = (found.results ?? []) as unknown[];
      const at = wanted.results.findIndex((result, index) => !isDeepStrictEqual(results[index], result));
      const call = (body as { calls: unknown[] }).calls[at];
      this.fault(
        `call ${at} ${JSON.stringify(call)} should be ${JSON.stringify(wanted.results[at])}, is ${JSON.stringify(results[at])}`,
        { ...sent, body: Buffer.alloc(0) },
      );
      return false;
    }
    this.fault(
      `should be ${JSON.stringify(expected).slice(0, SHOWN)}: ${answer.status} ${answer.text.slice(0, SHOWN)}`,
      sent,
    );
    return false;
  }

  /** Asks again, as often as it is told that nothing has changed. */
  async #insist(method: string, target: string, body: unknown): ReturnType<Client['json']> {
    for (;;) {
      const asked = await this.json(method, target, body);
      const { status = 0, text = '', headers } = asked.answer ?? {};
      const declined = status === 429 || (status === 503 && text.includes('Nothing has changed'));
      if (!declined) return asked;
      await setTimeout(Number(headers?.get('retry-after') ?? 1) * 1000);
    }
  }

  async #look(id: string, mirror: Mirror): Promise<boolean> {
    const { answer, sent } = await this.#insist('GET', `/v1/hosts/${id}`, undefined);
    if (answer?.status === 503) return false;
    const { digest } = JSON.parse(answer?.text || '{}') as { digest?: string };
    if (digest === mirror.digest) return true;
    this.fault(`the digest should be ${mirror.digest}, is ${digest}`, sent);
    return false;
  }
}

interface Told {
  message: string;
}

const messages = (hazards: readonly Told[] = []): string[] => hazards.map(({ message }) => message);
