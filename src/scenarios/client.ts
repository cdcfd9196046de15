/** Asks the service, and keeps what was asked as lines of curl that do it again. */

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export interface ServiceAddress {
  readonly url: string;
  readonly key: string;
}

/** Asks the service for one thing; `body` is JSON. */
export type Send = (
  method: string,
  path: string,
  body: string | undefined,
) => Promise<{ readonly status: number; readonly text: string }>;

export function byHttp({ url, key }: ServiceAddress): Send {
  const base = url.replace(/\/+$/, '');
  return async (method, path, body) => {
    const response = await fetch(`${base}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body }),
    });
    return { status: response.status, text: await response.text() };
  };
}

/** A host of the service that a scenario has to itself. */
export class ScenarioHost {
  readonly name: string;
  readonly id: string;
  /** Processes that run, by the names that the scenario gave them. */
  readonly processes = new Map<string, number>();
  /** The newest engine of each device. */
  readonly engines = new Map<string, number>();

  /** The processes and engines that named snapshots have. */
  readonly #saved = new Map<string, readonly (readonly (readonly [string, number])[])[]>();

  constructor(name: string, id: string) {
    this.name = name;
    this.id = id;
  }

  save(snapshot: string): void {
    this.#saved.set(snapshot, [[...this.processes], [...this.engines]]);
  }

  restore(snapshot: string): void {
    for (const [index, known] of [this.processes, this.engines].entries()) {
      known.clear();
      for (const [name, number] of this.#saved.get(snapshot)?.[index] ?? []) known.set(name, number);
    }
  }
}

export class Client {
  readonly #service: Send;
  readonly #asked: string[] = [];

  constructor(service: Send) {
    this.#service = service;
  }

  /** What a step does. */
  async ask(host: ScenarioHost, method: string, path: string, body?: unknown): Promise<Answer> {
    this.#asked.push(`ask ${method} ${quoted(path, `$${variable(host.name)}`)}${bodyOf(body)}`);
    return this.#send(method, `/v1/hosts/${host.id}${path}`, body);
  }

  /** What the runner wants to know; it is not written down. */
  async look(host: ScenarioHost, path: string): Promise<unknown> {
    return (await this.#send('GET', `/v1/hosts/${host.id}${path}`)).body;
  }

  async create(name: string, spec: object): Promise<Answer> {
    this.#asked.push(`${variable(name)}=/v1/hosts/$(ask POST /v1/hosts${bodyOf(spec)} | jq -r .id)`);
    return this.#send('POST', '/v1/hosts', spec);
  }

  async remove({ id }: ScenarioHost): Promise<void> {
    await this.#send('DELETE', `/v1/hosts/${id}`);
  }

  /** Lines for a shell with HOLDOVER_URL and HOLDOVER_KEY. Ids are the lowest free ones, so the same lines do the same. */
  reproduction(): string[] {
    return [
      `ask() { curl -sS -X "$1" "$HOLDOVER_URL$2" -H "authorization: Bearer $HOLDOVER_KEY" -H 'content-type: application/json' -d "\${3:-}"; }`,
      ...this.#asked,
    ];
  }

  async #send(method: string, path: string, body?: unknown): Promise<Answer> {
    const { status, text } = await this.#service(method, path, body === undefined ? undefined : JSON.stringify(body));
    if (text === '') return { status, body: undefined };
    try {
      return { status, body: JSON.parse(text) };
    } catch {
      throw new Error(`${method} ${path} was answered ${status} with something that is no JSON: ${text.slice(0, 200)}`);
    }
  }
}

const variable = (host: string): string => (host === '' ? 'H' : `H_${host.replaceAll(/\W/g, '_')}`);
const bodyOf = (body: unknown): string =>
  body === undefined ? '' : ` '${JSON.stringify(body).replaceAll("'", `'\\''`)}'`;
const quoted = (path: string, host: string): string => (/[?&]/.test(path) ? `"${host}${path}"` : `${host}${path}`);
