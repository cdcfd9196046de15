/** Runs one scenario, with one combination of its parameters, on hosts that it has to itself, and that are gone afterwards unless they are to stay. */
import { didYouMean } from '../nearest.ts';
import { type Action, actions, answerOf, type Fields, isOfProcess, requestOf } from './actions.ts';
import { Client, ScenarioHost, type Send } from './client.ts';
import { eventsAfter, flat, type LoggedEvent, timelineOf } from './events.ts';
import { compareAnswer, compareEvents, compareHazards, isRefusal, readExpectation, refusalOf } from './expectations.ts';
import { actionNamesOf, type StepInput } from './format.ts';
import type { Difference } from './matching.ts';
import type { Failure, Outcome } from './outcome.ts';
import type { ReadScenario } from './reading.ts';
import type { Path, Source } from './source.ts';
import { at, resolve, type Scopes, ValueError } from './values.ts';

/** These replace the kernel: its processes end. */
const ENDS_KERNEL: readonly string[] = ['kexecHost', 'crashHost', 'resetHost'];
const ONLY_HOST = '';
/** So many setups may use each other. */
const DEEPEST = 20;

type Symbols = Map<string, unknown>;

/** Where a step is, and what it sees. */
interface Place {
  readonly source: Source;
  readonly path: Path;
  readonly scopes: Scopes;
  /** Who does what is within a `use` or a `for`, unless it says so itself. */
  readonly by?: unknown;
  readonly host?: unknown;
  /** Of a setup: the steps that use it, the nearest one last. */
  readonly usedAt?: readonly string[];
}

/** What came of what a step does. */
interface Done {
  readonly host: ScenarioHost;
  readonly body: unknown;
  /** The part of it that is about the step. */
  readonly answer: Readonly<Record<string, unknown>>;
  readonly isRefused: boolean;
}

/** A step was not as expected. */
class StepFailed extends Error {
  readonly place: Place;
  readonly differences: readonly Difference[];
  readonly answer: unknown;
  readonly host: ScenarioHost | undefined;

  constructor(
    message: string,
    place: Place,
    more: { differences?: readonly Difference[]; answer?: unknown; host?: ScenarioHost } = {},
  ) {
    super(message);
    this.place = place;
    this.differences = more.differences ?? [];
    this.answer = more.answer;
    this.host = more.host;
  }
}

export class Case {
  readonly #scenario: ReadScenario;
  readonly #parameters: Readonly<Record<string, unknown>>;
  readonly #client: Client;
  readonly #hosts = new Map<string, ScenarioHost>();
  readonly #symbols: Symbols;
  readonly #stay: object | undefined;
  #steps = 0;

  /** `stay`: the hosts stay where all is as expected, with this in place of what the scenario says of them. */
  constructor(scenario: ReadScenario, parameters: Readonly<Record<string, unknown>>, service: Send, stay?: object) {
    this.#stay = stay;
    this.#scenario = scenario;
    this.#parameters = parameters;
    this.#client = new Client(service);
    this.#symbols = new Map(Object.entries(parameters));
  }

  /** Of the hosts that it has made. */
  get hostIds(): string[] {
    return [...this.#hosts.values()].map(({ id }) => id);
  }

  async run(): Promise<Outcome> {
    const { source, input } = this.#scenario;
    const began = performance.now();
    const failure = await this.#runAll().then(
      () => undefined,
      (error: unknown) => this.#explain(error),
    );
    if (failure !== undefined || this.#stay === undefined)
      for (const host of this.#hosts.values()) await this.#client.remove(host).catch(() => {});
    const given = Object.entries(this.#parameters).map(
      ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
    );
    return {
      file: source.file,
      line: source.line(['name']),
      name: given.length === 0 ? input.name : `${input.name} (${given.join(', ')})`,
      ...(input.about !== undefined && { about: input.about }),
      steps: this.#steps,
      milliseconds: performance.now() - began,
      ...(failure !== undefined && { failure }),
    };
  }

  async #runAll(): Promise<void> {
    const { source, input } = this.#scenario;
    this.#define(input.symbols, { source, path: ['symbols'], scopes: [this.#symbols] });
    const specs = input.hosts ?? { [ONLY_HOST]: input.host ?? {} };
    for (const [name, spec] of Object.entries(specs)) {
      const path = input.hosts !== undefined ? ['hosts', name] : input.host !== undefined ? ['host'] : [];
      await this.#create(name, spec, { source, path, scopes: [this.#symbols] });
    }
    await this.#runSteps(input.steps, { source, path: ['steps'], scopes: [this.#symbols] });
  }

  async #create(name: string, spec: object, place: Place): Promise<void> {
    const described = ['preset', 'topology', 'devices', 'from'].some((key) => key in spec);
    const whole = described ? spec : { preset: 'vmm-lab', ...spec };
    const resolved = this.#resolve(whole, place) as object;
    const { status, body } = await this.#client.create(name, { ...resolved, ...this.#stay });
    if (status >= 300) {
      const differences = [{ path: [], expected: 'a host', got: refusalOf(body as Record<string, unknown>) }];
      throw new StepFailed('the host was refused', place, { answer: body, differences });
    }
    this.#hosts.set(name, new ScenarioHost(name, (body as { id: string }).id));
  }

  async #runSteps(steps: readonly StepInput[], within: Place): Promise<void> {
    const { path, by, host } = within;
    for (const [index, step] of steps.entries())
      await this.#runStep({ by, host, ...step }, { ...within, path: [...path, index] });
  }

  async #runStep(step: StepInput, place: Place): Promise<void> {
    if (step.use !== undefined) return this.#use(step, place);
    if (step.for !== undefined) return this.#loop(step, place);
    this.#steps += 1;
    const host = this.#hostOf(step, place);
    const cursor =
      step.events === undefined ? undefined : ((await eventsAfter(this.#client, host, '0')).at(-1)?.id ?? '0');
    const name = actionNamesOf(step)[0];
    if (name === undefined)
      return this.#check(step, place, { host, body: {}, answer: {}, isRefused: false }, undefined);
    const action = actions().get(name)!;
    const fields = this.#fieldsOf(action, step[name], { ...place, path: [...place.path, name] });
    const pid = isOfProcess(action) ? this.#processOf(step, host, place) : undefined;
    const { method, path, body } = requestOf(action, fields, pid);
    const given = await this.#client.ask(host, method, path, body);
    const answer = answerOf(action, given.body);
    const done: Done = { host, body: given.body, answer, isRefused: isRefusal(action.kind, given.status, answer) };
    if (!done.isRefused) this.#remember(action, fields, done, pid);
    await this.#check(step, place, done, cursor);
    this.#bind(step, place, action, answer);
  }

  /** Those that have no value yet; each may be made of those in front of it. */
  #define(symbols: Readonly<Record<string, unknown>> = {}, place: Place): void {
    for (const [name, value] of Object.entries(symbols))
      if (!this.#symbols.has(name))
        this.#symbols.set(name, this.#resolve(value, { ...place, path: [...place.path, name] }));
  }

  /** From here on everywhere, and in what is being run, too, where `with` or `for` had another value. */
  #set(name: string, value: unknown, scopes: Scopes): void {
    for (const scope of scopes) scope.delete(name);
    this.#symbols.set(name, value);
  }

  async #use(step: StepInput, place: Place): Promise<void> {
    const { source, input } = this.#scenario.setups.get(step.use as string)!;
    const given = this.#resolve(step.with ?? {}, { ...place, path: [...place.path, 'with'] }) as object;
    this.#define(input.symbols, { source, path: ['symbols'], scopes: place.scopes });
    const own = new Map(Object.entries(given));
    const { by, host } = step;
    const usedAt = [...(place.usedAt ?? []), place.source.place(place.path)];
    if (usedAt.length > DEEPEST) throw new StepFailed('setups use each other without an end', place);
    await this.#runSteps(input.steps, { source, path: ['steps'], scopes: [own, ...place.scopes], by, host, usedAt });
  }

  async #loop(step: StepInput, place: Place): Promise<void> {
    const loops = Object.entries(step.for as Record<string, unknown>).map(([name, values]) => {
      const path = [...place.path, 'for', name];
      return [
        name,
        typeof values === 'string' ? range(values) : (this.#resolve(values, { ...place, path }) as unknown[]),
      ] as const;
    });
    for (const values of combinations(loops)) {
      const scope = new Map(Object.entries(values));
      const { by, host } = step;
      await this.#runSteps(step.steps as StepInput[], {
        ...place,
        path: [...place.path, 'steps'],
        scopes: [scope, ...place.scopes],
        by,
        host,
      });
    }
  }

  #hostOf(step: StepInput, place: Place): ScenarioHost {
    const named = this.#resolve(step.host ?? (this.#hosts.size === 1 ? [...this.#hosts.keys()][0] : undefined), place);
    const host = this.#hosts.get(String(named));
    if (host !== undefined) return host;
    const names = [...this.#hosts.keys()];
    const path = step.host === undefined ? place.path : [...place.path, 'host'];
    if (step.host === undefined)
      throw new StepFailed(`there are several hosts: say \`host:\`, one of ${names.join(', ')}`, { ...place, path });
    throw new StepFailed(`there is no host \`${named}\`${didYouMean(named, names)}`, { ...place, path });
  }

  #processOf(step: StepInput, host: ScenarioHost, place: Place): number {
    const { processes } = host;
    const names = [...processes.keys()];
    if (step.by === undefined && names.length === 1) return processes.get(names[0]!)!;
    if (step.by === undefined) {
      const which =
        names.length === 0
          ? 'no process runs: begin with `createProcess`'
          : `several processes run: say \`by:\`, one of ${names.join(', ')}`;
      throw new StepFailed(which, place, { host });
    }
    const by = String(this.#resolve(step.by, place));
    const pid = processes.get(by);
    if (pid !== undefined) return pid;
    throw new StepFailed(
      `no process \`${by}\` runs${didYouMean(by, names)}`,
      { ...place, path: [...place.path, 'by'] },
      { host },
    );
  }

  #fieldsOf(action: Action, given: unknown, place: Place): Record<string, unknown> {
    if (given === null) return {};
    if (typeof given === 'object') return this.#resolve(given, place) as Record<string, unknown>;
    if (action.first === undefined) throw new StepFailed(`\`${action.name}\` takes a mapping`, place);
    return { [action.first]: this.#resolve(given, place) };
  }

  #resolve(value: unknown, place: Place): unknown {
    try {
      return resolve(value, place.scopes);
    } catch (error) {
      if (!(error instanceof ValueError)) throw error;
      throw new StepFailed(error.message, { ...place, path: [...place.path, ...error.path] });
    }
  }

  /** Which processes and engines there are behind it. */
  #remember(action: Action, fields: Fields, { host, answer }: Done, pid: number | undefined): void {
    const { name } = action;
    if (ENDS_KERNEL.includes(name)) host.processes.clear();
    else if (name === 'createProcess') this.#began(host, fields.name, Number(answer.pid));
    else if (name === 'fork') this.#began(host, fields.name, Number(answer.ret));
    else if (name === 'forkProcess') this.#began(host, fields.name, Number(answer.child));
    else if (name === 'startEngine') host.engines.set(String(answer.bdf), Number(answer.id));
    else if (name === 'putSnapshot') host.save(String(fields.snapshot));
    else if (name === 'restoreSnapshot') host.restore(String(fields.snapshot));
    else if (name === 'killProcess')
      for (const [known, running] of host.processes) if (running === pid) host.processes.delete(known);
  }

  /** Its name stands for its pid, too. */
  #began(host: ScenarioHost, given: unknown, pid: number): void {
    const name = given === undefined ? `process ${pid}` : String(given);
    host.processes.set(name, pid);
    this.#symbols.set(name, pid);
  }

  async #check(step: StepInput, place: Place, done: Done, cursor: string | undefined): Promise<void> {
    const { host, body, answer, isRefused } = done;
    const of = (key: string): unknown => this.#resolve(step[key], { ...place, path: [...place.path, key] });
    const fail = (message: string, differing: readonly Difference[]): void => {
      if (differing.length === 0) return;
      const path = [...place.path, ...differing[0]!.path];
      throw new StepFailed(message, { ...place, path }, { differences: differing, answer: body, host });
    };
    const expected = readExpectation(of('expect'));
    const what = isRefused && !expected.refused ? 'the step was refused' : 'the answer is another one';
    fail(what, compareAnswer(expected, isRefused, answer));
    const told = ((body ?? {}) as { hazards?: LoggedEvent[] }).hazards ?? [];
    const hazards = (of('hazards') ?? []) as unknown[];
    fail(hazards.length === 0 ? 'the step raised a hazard' : 'the hazards are others', compareHazards(hazards, told));
    if (step.states !== undefined)
      fail(
        'a device is in another state',
        await this.#statesOf(of('states') as Record<string, string>, host, step.states as object),
      );
    if (cursor !== undefined) {
      const happened = (await eventsAfter(this.#client, host, cursor)).map(flat) as unknown as LoggedEvent[];
      fail('other events happened', compareEvents(of('events') as unknown[], happened));
    }
    if (expected.noGap) fail('the DMA had a gap', await this.#gapsOf(host));
  }

  async #statesOf(
    states: Readonly<Record<string, string>>,
    host: ScenarioHost,
    written: object,
  ): Promise<Difference[]> {
    const keys = Object.keys(written);
    const wrong: Difference[] = [];
    for (const [index, [bdf, expected]] of Object.entries(states).entries()) {
      const body = await this.#client.look(host, `/devices/${bdf}`);
      const got = (body as { state?: unknown }).state ?? body;
      if (got !== expected) wrong.push({ path: ['states', keys[index]!], expected, got });
    }
    return wrong;
  }

  /** What has come between the newest engine of each device and its memory, since it was started. */
  async #gapsOf(host: ScenarioHost): Promise<Difference[]> {
    const path = ['expect'];
    if (host.engines.size === 0) return [{ path, expected: 'an engine', got: 'none was started: `startEngine`' }];
    const wrong: Difference[] = [];
    for (const [bdf, engine] of host.engines) {
      const found = (await this.#client.look(host, `/devices/${bdf}/engines/${engine}`)) as Record<string, unknown>;
      const { continuous, stopped, pages, continuousPages, gaps, moved } = found;
      if (continuous === true && stopped === null) continue;
      wrong.push({
        path,
        expected: `no gap of engine ${engine} of ${bdf}`,
        got: { stopped, pages, continuousPages, gaps, moved },
      });
    }
    return wrong;
  }

  #bind(step: StepInput, place: Place, { kind }: Action, answer: Readonly<Record<string, unknown>>): void {
    if (step.as === undefined) return;
    if (typeof step.as === 'string') {
      this.#set(step.as, kind === 'call' ? answer.ret : answer, place.scopes);
      return;
    }
    for (const [name, from] of Object.entries(step.as as Record<string, string>)) {
      const value = at(answer, from);
      if (value === undefined) {
        const path = [...place.path, 'as', name];
        throw new StepFailed(
          `the answer has no \`${from}\`${didYouMean(from, Object.keys(answer))}`,
          { ...place, path },
          { answer },
        );
      }
      this.#set(name, value, place.scopes);
    }
  }

  async #explain(error: unknown): Promise<Failure> {
    const reproduce = this.#client.reproduction();
    if (!(error instanceof StepFailed)) {
      const { source } = this.#scenario;
      const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
      const message = `the scenario could not be run: ${error instanceof Error ? error.message : error}${cause}`;
      return { at: source.place([]), message, step: '', differences: [], timeline: [], reproduce };
    }
    const { place, differences, answer } = error;
    const host = error.host ?? (this.#hosts.size === 1 ? [...this.#hosts.values()][0] : undefined);
    const events = host === undefined ? [] : await eventsAfter(this.#client, host, '0').catch(() => []);
    return {
      at: place.source.place(place.path),
      message:
        place.usedAt === undefined
          ? error.message
          : `${error.message} (in a setup, used at ${place.usedAt.join(', ')})`,
      step: place.source.excerpt(stepPathOf(place.path)),
      differences: differences.map(({ path, expected, got }) => ({ what: path.join('.'), expected, got })),
      ...(answer !== undefined && { answer }),
      timeline: timelineOf(events),
      reproduce,
    };
  }
}

/** The step that a path leads into. */
function stepPathOf(path: Path): Path {
  const index = path.findLastIndex((key, position) => typeof key === 'number' && path[position - 1] === 'steps');
  return index < 0 ? path : path.slice(0, index + 1);
}

function range(text: string): number[] {
  const [first, last] = text.split('..').map(Number) as [number, number];
  return Array.from({ length: Math.max(last - first + 1, 0) }, (_, index) => first + index);
}

/** Each way to take one value of each name. */
export function combinations(named: readonly (readonly [string, readonly unknown[]])[]): Record<string, unknown>[] {
  return named.reduce<Record<string, unknown>[]>(
    (made, [name, values]) => made.flatMap((one) => values.map((value) => ({ ...one, [name]: value }))),
    [{}],
  );
}
