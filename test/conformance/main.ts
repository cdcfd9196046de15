/** `npm run conformance -- PATH…`: replays golden traces through the HTTP API and compares every answer. */
import { parseArgs } from 'node:util';
import { jsonReport, textReport } from './report.ts';
import { runTraces } from './run.ts';
import { readTraces, type Trace, traceFiles } from './trace.ts';

const USAGE = `usage: npm run conformance -- [OPTION…] PATH…

Replays traces (files .jsonl and .jsonl.gz, or folders of them) through the HTTP API of a service of its own.

  --only PATTERN   traces whose name or file matches this regular expression
  --stop-at-first  stops at the first trace that fails
  --bytes          sends the structs of ioctls as bytes
  --json           JSON Lines: an object for each trace, then the figures`;

interface Arguments {
  traces: Trace[];
  json: boolean;
  stopAtFirst: boolean;
  bytes: boolean;
}

/** Null, and a message, where the arguments are wrong. */
function readArguments(): Arguments | null {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        only: { type: 'string' },
        'stop-at-first': { type: 'boolean' },
        bytes: { type: 'boolean' },
        json: { type: 'boolean' },
      },
    });
    if (positionals.length === 0) throw new Error('no path of a trace is given');
    const only = new RegExp(values.only ?? '');
    const traces = traceFiles(positionals)
      .flatMap(readTraces)
      .filter((trace) => only.test(trace.name) || only.test(trace.file));
    if (traces.length === 0) throw new Error('no trace is there, or none matches');
    const { json = false, bytes = false, 'stop-at-first': stopAtFirst = false } = values;
    return { traces, json, bytes, stopAtFirst };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return null;
  }
}

const wanted = readArguments();
if (wanted === null) process.exitCode = 2;
else {
  const report = (wanted.json ? jsonReport : textReport)(console.log);
  await runTraces(wanted.traces, wanted, (outcome) => report.add(outcome));
  process.exitCode = report.end() ? 0 : 1;
}
