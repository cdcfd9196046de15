/** `holdover events`: what has happened on a host, and what happens. */
import { setTimeout } from 'node:timers/promises';
import { Option } from 'commander';
import { type EventSourceMessage, EventSourceParserStream } from 'eventsource-parser/stream';
import type { HostEvent } from '../host/views.ts';
import { printable, seconds } from '../timeline/text.ts';
import { type Client, EXIT, Failure, ofHost, Refused } from './client.ts';
import { acting, type Family } from './options.ts';
import { note, type Style, say, styled } from './terminal.ts';

interface EventOptions {
  follow?: true;
  after?: string;
  kind?: string[];
  bdf?: string;
  severity?: string;
}

export const addEvents: Family = (program) => {
  program
    .command('events')
    .argument('<host>')
    .description('show the events of a host as a timeline')
    .option('--follow', 'go on with those that happen, until Ctrl-C or the end of the host')
    .option('--after <id>', 'begin behind this one')
    .option('--kind <kind...>', 'only those of this kind, or of these')
    .option('--bdf <bdf>', 'only those about this function')
    .addOption(
      new Option('--severity <severity>', 'only those as severe').choices(['info', 'notice', 'warning', 'error']),
    )
    .action(
      acting<EventOptions>(async ({ client, options, args: [host] }) => {
        const { follow, after, kind = [], bdf, severity, json } = options;
        const query = new URLSearchParams([
          ...kind.map((one): [string, string] => ['kind', one]),
          ...Object.entries({ bdf, severity }).filter((entry): entry is [string, string] => entry[1] !== undefined),
        ]);
        const shown = json ? (event: HostEvent): void => say(JSON.stringify(event)) : timeline();
        if (follow) return await followEvents(client, ofHost(host!, `/events?${query}`), after, shown);
        if (after !== undefined) query.set('after', after);
        for await (const event of client.all<HostEvent>(ofHost(host!, `/events?${query}`))) shown(event);
      }),
    );
};

const COLOURS: Readonly<Record<string, Style>> = { notice: 'cyan', warning: 'yellow', error: 'red' };
const KIND_WIDTH = 20;

/** Shows events under the kernel that ran. */
function timeline(): (event: HostEvent) => void {
  let last: number | undefined;
  return ({ kernel, time, kind, severity, message }) => {
    if (kernel !== last) say(styled('bold', `${last === undefined ? '' : '\n'}kernel ${kernel}`));
    last = kernel;
    const colour = COLOURS[severity];
    const line = `${kind.padEnd(KIND_WIDTH)}  ${printable(message)}`;
    say(`${styled('dim', seconds(time).padStart(13))}  ${colour === undefined ? line : styled(colour, line)}`);
  };
}

/** How long it waits until it connects again, in milliseconds. */
const AGAIN_MS = 1000;

/** Goes on behind the last event whatever happens to the connection, or to the service. */
async function followEvents(
  client: Client,
  path: string,
  after: string | undefined,
  shown: (event: HostEvent) => void,
): Promise<void> {
  let last = after;
  let connected = false;
  for (;;) {
    try {
      const headers = { accept: 'text/event-stream', ...(last === undefined ? {} : { 'last-event-id': last }) };
      const { body } = await client.open('GET', path, headers);
      connected = true;
      for await (const { event, data } of messages(body!)) {
        if (event === 'gap') {
          const { oldest }: { oldest: string } = JSON.parse(data);
          note(`Some events are no longer kept: it goes on with ${oldest}.`);
          continue;
        }
        const told: HostEvent = JSON.parse(data);
        last = told.id;
        shown(told);
      }
    } catch (error) {
      if (!connected) throw error;
      if (error instanceof Refused && error.problem.status === 404) return note('The host has been deleted.');
      if (error instanceof Failure && error.exitCode !== EXIT.unreachable && !isForAWhile(error)) throw error;
    }
    note('The stream has ended: it goes on as soon as the service answers.');
    await setTimeout(AGAIN_MS);
  }
}

/** The service stops, or has too much to do. */
const isForAWhile = (error: Failure): boolean =>
  error instanceof Refused && (error.problem.status === 503 || error.problem.status === 429);

/** What a stream of server-sent events tells. Ends with the stream, however that does. */
async function* messages(body: NonNullable<Response['body']>): AsyncGenerator<EventSourceMessage> {
  try {
    yield* body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  } catch (error) {
    // Cut off; whatever else goes wrong here is a bug.
    if (!(error instanceof TypeError)) throw error;
  }
}
