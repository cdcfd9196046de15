/** The service as commands ask it, by HTTP. */

/** How a command ends. */
export const EXIT = { refused: 1, usage: 2, unreachable: 3 } as const;

/** A command that cannot be carried out; the message says why, and what to do. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exitCode: number;

  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** What the service answers where it refuses. */
export interface Problem {
  title: string;
  status: number;
  detail: string;
  errno?: string;
  where?: string;
}

export class Refused extends Failure {
  readonly problem: Problem;

  constructor(problem: Problem) {
    const { detail, errno, where, status } = problem;
    const kernel = errno === undefined ? '' : `${errno} (${where}): `;
    super(EXIT.refused, `${kernel}${detail}${ADVICE[status] ?? ''}`);
    this.problem = problem;
  }
}

/** What the detail does not say, as it is about this client. */
const ADVICE: Readonly<Record<number, string>> = {
  401: ' Say it with --key or HOLDOVER_KEY (commands for tenants: --admin-key or HOLDOVER_ADMIN_KEY).',
  421: ' Use http://127.0.0.1 with the port of the service.',
};

export interface Place {
  url: string;
  key: string;
}

interface Page<Item> {
  items: Item[];
  nextPageToken: string | null;
}

export class Client {
  readonly #url: string;
  readonly #key: string;

  constructor({ url, key }: Place) {
    this.#url = url.replace(/\/+$/, '');
    this.#key = key;
  }

  /** A request with its answer. A string as body is JSON already. Throws Refused, and Failure where nobody answers. */
  async ask<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await this.open(method, path, {}, body);
    const text = await this.#reached(response.text());
    return (text === '' ? null : JSON.parse(text)) as Answer;
  }

  /** All items of a list that comes in pages. */
  async *all<Item>(path: string): AsyncGenerator<Item> {
    const sign = path.includes('?') ? '&' : '?';
    for (let after: string | null = ''; after !== null; ) {
      const page: Page<Item> = await this.ask(
        'GET',
        `${path}${sign}limit=1000${after === '' ? '' : `&after=${after}`}`,
      );
      yield* page.items;
      after = page.nextPageToken;
    }
  }

  /** The answer as it begins, for whoever reads it bit by bit. */
  async open(method: string, path: string, headers: Record<string, string> = {}, body?: unknown): Promise<Response> {
    const response = await this.#reached(
      fetch(`${this.#url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${this.#key}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
    );
    if (response.ok) return response;
    const text = await this.#reached(response.text());
    if (response.headers.get('content-type')?.startsWith('application/problem+json'))
      throw new Refused(JSON.parse(text) as Problem);
    throw this.#unreachable(`what answers there (${response.status}) is no Holdover`);
  }

  async #reached<Value>(asked: Promise<Value>): Promise<Value> {
    try {
      return await asked;
    } catch (error) {
      const { cause, message } = error as Error & { cause?: { code?: string } };
      throw this.#unreachable(cause?.code ?? message);
    }
  }

  #unreachable(why: string): Failure {
    return new Failure(
      EXIT.unreachable,
      `No Holdover answers at ${this.#url} (${why}). Start one with "holdover serve --dev", or say where it is with --url or HOLDOVER_URL.`,
    );
  }
}

/** The path of a host, or below it. */
export const ofHost = (host: string, below = ''): string => `/v1/hosts/${encodeURIComponent(host)}${below}`;
