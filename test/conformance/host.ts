/** The host that a trace is replayed on: processes by their numbers in the trace, and calls. */

import { asRequested } from '../support/raw-ioctl.ts';
import { type Api, type ApiAnswer, ask, type Method, ReplayError } from './api.ts';
import { hostBody } from './header.ts';
import type { Header, Json, JsonObject } from './trace.ts';

/** A call that goes out: parameters with symbols replaced. */
export interface OutgoingCall {
  call: string;
  [parameter: string]: Json;
}

/** What a call answered, by either face of the API. */
export type Result = JsonObject;

/** Processes that exist from the start, and again after a kexec. */
const PROCESSES = [1, 2, 3];

export class TraceHost {
  readonly #api: Api;
  readonly #path: string;
  readonly #pids = new Map<number, number>();

  private constructor(api: Api, id: string) {
    this.#api = api;
    this.#path = `/v1/hosts/${id}`;
  }

  static async create(api: Api, header: Header): Promise<TraceHost> {
    const { id } = await ask(api, 'POST', '/v1/hosts', hostBody(header));
    const host = new TraceHost(api, String(id));
    await host.#checkDevices(header);
    await host.startProcesses();
    return host;
  }

  /** The traced kernel numbered groups and cdevs; paths in the trace are made of these numbers. */
  async #checkDevices({ devices }: Header): Promise<void> {
    for (const { bdf, group, cdev } of devices) {
      const view = await this.ask('GET', `/devices/${bdf}`);
      if (view.cdev !== `/dev/vfio/devices/${cdev}` || view.group !== group)
        throw new ReplayError(`${bdf} should be ${cdev} in group ${group}: ${JSON.stringify(view)}`);
    }
  }

  async startProcesses(): Promise<void> {
    this.#pids.clear();
    for (const pid of PROCESSES) this.#pids.set(pid, await this.startProcess(`process ${pid}`));
  }

  /** The number that the host gave it. */
  async startProcess(name: string): Promise<number> {
    return (await this.ask('POST', '/processes', { name })).pid as number;
  }

  /** From the number in the trace to the host's. */
  pid(traced: number): number {
    const pid = this.#pids.get(traced);
    if (pid === undefined) throw new ReplayError(`the trace has no process ${traced} now`);
    return pid;
  }

  async endProcess(traced: number): Promise<void> {
    await this.ask('DELETE', `/processes/${this.pid(traced)}`);
    this.#pids.delete(traced);
  }

  /** A request under `/v1/hosts/{host}`, whatever comes of it. */
  request(method: Method, path: string, body?: Json): Promise<ApiAnswer> {
    return this.#api.request(method, `${this.#path}${path}`, body);
  }

  /** A request that has to succeed. */
  ask(method: Method, path: string, body?: Json): Promise<JsonObject> {
    return ask(this.#api, method, `${this.#path}${path}`, body);
  }

  /** A request that the kernel may refuse: the errno is the answer then, as of a system call. */
  async attempt(method: Method, path: string, body?: Json): Promise<Result> {
    const { status, body: answer } = await this.request(method, path, body);
    if (status < 300) return answer.blocked === true ? { blocked: true } : { ret: 0 };
    if (typeof answer.errno !== 'string')
      throw new ReplayError(`${method} ${path}: ${status} ${JSON.stringify(answer)}`);
    const { errno, where = null, detail: why = null } = answer;
    return { ret: -1, errno, where, why };
  }

  /** System calls of a process, by the host's number. */
  async calls(pid: number, calls: OutgoingCall[]): Promise<Result[]> {
    const { results } = await this.ask('POST', `/processes/${pid}/calls`, { calls: calls.map(asRequested) });
    if (!Array.isArray(results) || results.length !== calls.length)
      throw new ReplayError(`${calls.length} calls, but the answer is ${JSON.stringify(results)}`);
    return results as Result[];
  }

  async call(pid: number, call: OutgoingCall): Promise<Result> {
    const [result] = await this.calls(pid, [call]);
    return result!;
  }

  async delete(): Promise<void> {
    await this.ask('DELETE', '');
  }
}
