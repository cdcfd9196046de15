/** JUnit XML, as CI systems read it: a suite a file, a case a scenario. */

import { escaped } from '../../timeline/text.ts';
import type { Outcome, Summary } from '../outcome.ts';
import { describe } from './text.ts';

export function junit({ outcomes, failed, milliseconds }: Summary): string {
  const suites = [...Map.groupBy(outcomes, ({ file }) => file)].map(([file, of]) => {
    const failures = of.filter(({ failure }) => failure !== undefined).length;
    const time = of.reduce((sum, outcome) => sum + outcome.milliseconds, 0);
    const head = `  <testsuite name="${escaped(file)}" tests="${of.length}" failures="${failures}" errors="0" skipped="0" time="${seconds(time)}">`;
    return [head, ...of.map(testcase), '  </testsuite>'].join('\n');
  });
  const head = `<testsuites name="holdover" tests="${outcomes.length}" failures="${failed}" errors="0" time="${seconds(milliseconds)}">`;
  return `${['<?xml version="1.0" encoding="UTF-8"?>', head, ...suites, '</testsuites>'].join('\n')}\n`;
}

function testcase({ name, file, line, milliseconds, failure }: Outcome): string {
  const attributes = `name="${escaped(name)}" classname="${escaped(file.replace(/\.ya?ml$/, ''))}" file="${escaped(file)}" line="${line}" time="${seconds(milliseconds)}"`;
  if (failure === undefined) return `    <testcase ${attributes}/>`;
  const message = escaped(`${failure.at}: ${failure.message}`);
  return `    <testcase ${attributes}>\n      <failure type="expectation" message="${message}">${escaped(describe(failure))}</failure>\n    </testcase>`;
}

const seconds = (milliseconds: number): string => (milliseconds / 1000).toFixed(3);
