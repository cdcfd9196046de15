/** A client of server-sent events: goes by the fields of the messages, as an EventSource does. */
import type { HostEvent } from '../../src/host/views.ts';

export interface Message {
  id?: string;
  event?: string;
  data: HostEvent;
}

export interface EventStream extends AsyncIterable<Message> {
  status: number;
  headers: Headers;
  /** Cuts it off; what has arrived and was not read is lost. */
  cut(): void;
}

export interface StreamOptions {
  /** Parameters, such as `kind=hazard`. */
  query?: string;
  lastEventId?: string;
}

/** Opens it. It comes to its end where the service ends it, and throws where the connection breaks. */
export async function openStream(url: string, key: string, options: StreamOptions = {}): Promise<EventStream> {
  const { query = '', lastEventId } = options;
  const abort = new AbortController();
  const response = await fetch(`${url}${query === '' ? '' : '?'}${query}`, {
    headers: {
      authorization: `Bearer ${key}`,
      accept: 'text/event-stream',
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    },
    signal: abort.signal,
  });
  return {
    status: response.status,
    headers: response.headers,
    cut: () => abort.abort(),
    async *[Symbol.asyncIterator]() {
      let text = '';
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        const blocks = text.split('\n\n');
        text = blocks.pop()!;
        for (const block of blocks) {
          const message = parse(block);
          if (message !== null) yield message;
        }
      }
    },
  };
}

/** Null for a comment. */
function parse(block: string): Message | null {
  const fields = Object.fromEntries(
    block
      .split('\n')
      .filter((line) => !line.startsWith(':'))
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
  );
  return fields.data === undefined ? null : { ...fields, data: JSON.parse(fields.data) as HostEvent };
}

/** The next so many messages, or fewer where it ends. */
export async function take(stream: EventStream, count: number): Promise<Message[]> {
  const taken: Message[] = [];
  if (count === 0) return taken;
  for await (const message of stream) if (taken.push(message) === count) break;
  return taken;
}
