/** Runs scenario files against a service, several scenarios at a time, and writes reports. */
import { glob, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Case, combinations } from './case.ts';
import { byHttp, type Send, type ServiceAddress } from './client.ts';
import type { Outcome, Summary } from './outcome.ts';
import { type ReadScenario, readScenarios } from './reading.ts';
import { html } from './reports/html.ts';
import { junit } from './reports/junit.ts';
import { end, line } from './reports/text.ts';
import { Unreadable } from './source.ts';

export interface RunOptions extends ServiceAddress {
  /** How many scenarios run at a time. */
  readonly parallel?: number;
  /** Files to write reports to. */
  readonly junit?: string;
  readonly json?: string;
  readonly html?: string;
  /** Takes what a person reads, as it comes; nobody does if not given. */
  readonly write?: (text: string) => void;
}

const PARALLEL = 4;
/** Beside the files, not of them. */
const SETUPS = 'setups';

/** The files may be directories: then all in them that are no setups. Throws if there is nothing to run. */
export async function runScenarios(files: readonly string[], options: RunOptions): Promise<Summary> {
  const { write = () => {} } = options;
  const service = byHttp(options);
  const began = performance.now();
  const outcomes: Outcome[] = [];
  const cases: (() => Promise<Outcome>)[] = [];
  const tell = (outcome: Outcome): void => {
    outcomes.push(outcome);
    write(line(outcome));
  };
  for (const file of await filesOf(files)) {
    try {
      for (const scenario of await readScenarios(file)) cases.push(...casesOf(scenario, service));
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      for (const problem of error.problems) tell(unreadable(file, problem));
    }
  }
  const waiting = cases.values();
  const work = async (): Promise<void> => {
    for (const run of waiting) tell(await run());
  };
  await Promise.all(Array.from({ length: options.parallel ?? PARALLEL }, work));
  outcomes.sort((a, b) => a.file.localeCompare(b.file, 'en', { numeric: true }) || a.line - b.line);
  const failed = outcomes.filter(({ failure }) => failure !== undefined).length;
  const summary = { outcomes, passed: outcomes.length - failed, failed, milliseconds: performance.now() - began };
  write(end(summary));
  if (options.junit !== undefined) await writeFile(options.junit, junit(summary));
  if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(summary, null, 2)}\n`);
  if (options.html !== undefined) await writeFile(options.html, html(summary));
  return summary;
}

const casesOf = (scenario: ReadScenario, service: Send): (() => Promise<Outcome>)[] =>
  combinations(Object.entries(scenario.input.parameters ?? {})).map(
    (parameters) => () => new Case(scenario, parameters, service).run(),
  );

async function filesOf(given: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const name of given) {
    const isDirectory = (await stat(name)).isDirectory();
    if (!isDirectory) found.push(name);
    else
      for await (const file of glob('**/*.{yaml,yml}', { cwd: name }))
        if (!file.split(path.sep).includes(SETUPS)) found.push(path.join(name, file));
  }
  if (found.length === 0) throw new Error(`there are no scenarios in ${given.join(', ')}`);
  return found.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

/** A file that cannot be read is a scenario that has failed. */
function unreadable(file: string, problem: string): Outcome {
  const [, at = file, place = '1', message = problem] = /^(.*?:(\d+)): ([\s\S]*)$/.exec(problem) ?? [];
  const failure = { at, message, step: '', differences: [], timeline: [], reproduce: [] };
  return { file, line: Number(place), name: `${file} can be read`, steps: 0, milliseconds: 0, failure };
}
