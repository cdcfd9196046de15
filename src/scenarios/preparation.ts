/** A scenario that prepares a host: it is run once, and the host stays as it is then. */
import { Case } from './case.ts';
import type { Send } from './client.ts';
import type { Failure } from './outcome.ts';
import { type ReadScenario, readScenarios } from './reading.ts';
import { show } from './reports/text.ts';
import { Unreadable } from './source.ts';

/** In one line: where, and what is wrong or has come. */
export class NotPrepared extends Error {}

export class Preparation {
  readonly #scenario: ReadScenario;

  private constructor(scenario: ReadScenario) {
    this.#scenario = scenario;
  }

  /** Throws NotPrepared where the file is none, or not of one host alone. */
  static async read(file: string): Promise<Preparation> {
    const [scenario, other] = await readScenarios(file).catch((error: unknown) => {
      if (error instanceof Unreadable) throw new NotPrepared(error.problems[0]!);
      throw new NotPrepared(`${file} cannot be read (${(error as { code?: string }).code ?? error})`);
    });
    const { source, input } = scenario!;
    const wrong = (key: string, why: string): NotPrepared => new NotPrepared(`${source.place([], key)}: ${why}`);
    if (other !== undefined)
      throw new NotPrepared(`${other.source.place([], 'name')}: it is the second scenario, and one host has one`);
    if (input.hosts !== undefined) throw wrong('hosts', 'it has `hosts`, and here it is of one host: say `host`');
    if (input.parameters !== undefined)
      throw wrong('parameters', 'it has `parameters`, and here it is run once: make them `symbols`');
    return new Preparation(scenario!);
  }

  /** Makes the host with what is given in place of what the scenario says, and gives its id. Throws NotPrepared; the host is gone then. */
  async run(service: Send, given: object): Promise<string> {
    const run = new Case(this.#scenario, {}, service, given);
    const { failure } = await run.run();
    if (failure !== undefined) throw new NotPrepared(inOneLine(failure));
    return run.hostIds[0]!;
  }
}

function inOneLine({ at, message, differences }: Failure): string {
  const differing = differences.map(
    ({ what, expected, got }) => `${what === '' ? '' : `${what}: `}expected ${show(expected)}, got ${show(got)}`,
  );
  return [`${at}: ${message}`, ...differing].join('; ').replaceAll(/\s+/g, ' ');
}
