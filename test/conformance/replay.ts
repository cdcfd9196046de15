/** Replays one trace on a fresh host, and stops at the first answer that is not the traced one. */
import { type Api, ReplayError } from './api.ts';
import { matches, output } from './compare.ts';
import { type Context, Contexts } from './contexts.ts';
import { check, dmaWrite } from './device-memory.ts';
import { type OutgoingCall, type Result, TraceHost } from './host.ts';
import { MockDevices } from './mock-device.ts';
import { Registers } from './registers.ts';
import { type Space, Symbols } from './symbols.ts';
import {
  type Expectation,
  type Json,
  type JsonObject,
  SPECIAL_CALLS,
  type Trace,
  type TracedCall,
  type TraceLine,
} from './trace.ts';
import { tellUnsaid } from './unsaid.ts';

export interface Difference {
  /** Line in the file. */
  line: number;
  call: TracedCall;
  /** With symbols replaced. */
  expected: Json;
  got: Json;
}

/** Pins and cookies get the numbers that the traced kernel gave them, whatever ids there are. */
const NUMBERED_ALIKE = /^(access_pin\.ret|read\.faults\..*)$/;

/** Requests that make a queue, and the output that is its descriptor. */
const QUEUE_REQUESTS: Readonly<Record<string, string>> = {
  IOMMU_FAULT_QUEUE_ALLOC: 'out_fault_fd',
  IOMMU_VEVENTQ_ALLOC: 'out_veventq_fd',
};

/** Calls in one request. */
const BATCH = 200;

/** Null if every answer is as traced. */
export async function replay(api: Api, trace: Trace): Promise<Difference | null> {
  let host: TraceHost;
  try {
    host = await TraceHost.create(api, trace.header);
    await tellUnsaid(host, trace);
  } catch (error) {
    if (error instanceof ReplayError && trace.calls[0]) return stopped(trace.calls[0], error);
    throw error;
  }
  const difference = await new Replay(host, trace).run();
  await host.delete();
  return difference;
}

function stopped({ line, call }: TraceLine, error: ReplayError): Difference {
  return { line, call, expected: call.expect as JsonObject, got: error.message };
}

interface Pending {
  traced: TraceLine;
  outgoing: OutgoingCall;
}

class Replay {
  readonly #host: TraceHost;
  readonly #trace: Trace;
  readonly #symbols = new Symbols();
  readonly #contexts = new Contexts();
  readonly #devices: MockDevices;
  readonly #registers: Registers;
  /** Calls of one process that wait to be sent together. */
  #pending: Pending[] = [];

  constructor(host: TraceHost, trace: Trace) {
    this.#host = host;
    this.#trace = trace;
    this.#devices = new MockDevices(host, trace.header.geometry);
    this.#registers = new Registers(trace.header.devices);
  }

  async run(): Promise<Difference | null> {
    for (const traced of this.#trace.calls) {
      const difference = await this.#line(traced).catch((error: unknown) => {
        if (error instanceof ReplayError) return stopped(traced, error);
        throw error;
      });
      if (difference) return difference;
    }
    return this.#flush().catch((error: unknown) => {
      if (error instanceof ReplayError) return stopped(this.#trace.calls.at(-1)!, error);
      throw error;
    });
  }

  async #line(traced: TraceLine): Promise<Difference | null> {
    const { call } = traced;
    const special = SPECIAL_CALLS.has(call.call);
    const waiting = this.#pending[0];
    if (waiting && (special || waiting.traced.call.pid !== call.pid || this.#pending.length === BATCH)) {
      const difference = await this.#flush();
      if (difference) return difference;
    }
    if (special) {
      const got = await this.#special(call);
      return (await this.#isExcepted(call, got)) ? null : this.#settle(traced, got);
    }
    this.#pending.push({ traced, outgoing: this.#outgoing(call) });
    return this.#endsBatch(call) ? this.#flush() : null;
  }

  /** Whether lines behind this one may depend on what it answers, or on what the replayer does then. */
  #endsBatch(call: TracedCall): boolean {
    return call.as !== undefined || call.call === 'close' || call.call === 'send_fd' || call.call === 'dup';
  }

  #outgoing({ n: _n, pid: _pid, as: _as, expect: _expect, ...parameters }: TracedCall): OutgoingCall {
    const outgoing = this.#symbols.argument(parameters as JsonObject) as OutgoingCall;
    return outgoing.call === 'send_fd' ? { ...outgoing, to: this.#host.pid(parameters.to as number) } : outgoing;
  }

  /** Sends what is pending, and looks at the answers. */
  async #flush(): Promise<Difference | null> {
    const pending = this.#pending;
    const first = pending[0];
    if (first === undefined) return null;
    this.#pending = [];
    const outgoing = pending.map((entry) => entry.outgoing);
    const results = await this.#host.calls(this.#host.pid(first.traced.call.pid), outgoing);
    for (const [index, entry] of pending.entries()) {
      const result = results[index]!;
      await this.#follow(entry.traced.call, entry.outgoing, result);
      const difference = this.#settle(entry.traced, result);
      if (difference) return difference;
    }
    return null;
  }

  /** Keeps track of the descriptors of iommufds, and of those that keep them. */
  async #follow(traced: TracedCall, outgoing: OutgoingCall, { ret, errno, arg }: Result): Promise<void> {
    if (errno !== undefined || typeof ret !== 'number') return;
    const { pid } = traced;
    const context = this.#contexts.of(pid, outgoing.fd);
    if (traced.call === 'open' && traced.path === '/dev/iommu') this.#contexts.opened(pid, ret);
    else if (context && (traced.call === 'dup' || traced.call === 'access_create'))
      this.#contexts.copied(context, pid, ret);
    else if (context && QUEUE_REQUESTS[String(traced.request)])
      this.#contexts.copied(context, pid, (arg as JsonObject)[QUEUE_REQUESTS[String(traced.request)]!] as number);
    else if (context && traced.call === 'send_fd') this.#contexts.copied(context, traced.to as number, ret);
    else if (context && traced.call === 'close') await this.#closed(this.#contexts.closed(pid, outgoing.fd));
  }

  async #closed(context: Context | undefined): Promise<void> {
    if (context) await this.#devices.contextClosed(context);
  }

  /** Binds what `as` names, and compares. */
  #settle({ line, call }: TraceLine, got: Result): Difference | null {
    for (const [path, name] of Object.entries(call.as ?? {})) {
      const value = output(got, path);
      if (value === undefined || got.errno !== undefined)
        return { line, call, expected: call.expect as JsonObject, got };
      this.#symbols.bind(name, value, this.#space(call, path));
    }
    this.#registers.follow(call);
    const expected = this.#symbols.expectation(call.expect as JsonObject) as Expectation;
    return matches(...this.#registers.compared(call, expected, got))
      ? null
      : { line, call, expected: expected as JsonObject, got };
  }

  /**
   * Where the number is unique. Only on the mock IOMMU do ids differ from the traced kernel's, elsewhere both give the
   * lowest free one.
   */
  #space(call: TracedCall, path: string): Space {
    if (!this.#trace.header.suite.startsWith('iommufd') || NUMBERED_ALIKE.test(`${call.call}.${path}`)) return 'any';
    if (path === 'ret' || path.endsWith('fd')) return `fd ${call.call === 'send_fd' ? (call.to as number) : call.pid}`;
    const context = this.#contextOf(call);
    return context ? `iommufd ${context.id}` : 'any';
  }

  #contextOf(call: TracedCall): Context | undefined {
    if (call.device !== undefined) return this.#devices.get(call.device).context;
    return this.#contexts.of(call.pid, this.#symbols.argument(call.fd as Json));
  }

  async #special(call: TracedCall): Promise<Result> {
    const host = this.#host;
    const argument = (name: string): Json => this.#symbols.argument((call[name] ?? null) as Json);
    const bdf = (): string => this.#devices.get(call.device).function.bdf;
    switch (call.call) {
      case 'attach': {
        const flags = { noDirty: call.no_dirty === true, pasid: call.pasid === true };
        const attach = { pid: host.pid(call.pid), fd: argument('fd'), pt: argument('pt'), ...flags };
        return this.#devices.attach(deviceSymbol(call), attach, this.#contextOf(call));
      }
      case 'replace':
        return this.#devices.replace(call.device, argument('pt'));
      case 'detach':
        return this.#devices.detach(call.device);
      case 'pasid_attach':
        return this.#devices.pasidAttach(call.device, argument('pasid'), argument('pt'));
      case 'pasid_replace':
        return this.#devices.pasidReplace(call.device, argument('pasid'), argument('pt'));
      case 'pasid_detach':
        return this.#devices.pasidDetach(call.device, argument('pasid'));
      case 'pasid_check':
        return this.#devices.pasidCheck(call.device, argument('pasid'), argument('hwpt'));
      case 'check': {
        const range = { iova: argument('iova'), length: argument('length'), va: argument('va') };
        return check(host, bdf(), host.pid(call.pid), range);
      }
      case 'dma_write':
        return dmaWrite(host, bdf(), argument('iova'), argument('length'));
      case 'add_reserved': {
        const ioas = `/processes/${host.pid(call.pid)}/iommufds/${argument('fd')}/ioases/${argument('ioas')}`;
        const range = { start: argument('start'), length: argument('length') };
        return host.attempt('POST', `${ioas}/reserved-ranges`, range);
      }
      case 'driver_bind':
        return host.attempt('PUT', `/devices/${call.bdf}/driver`, { driver: call.driver as string });
      case 'driver_unbind': {
        const of = call.driver === '' ? '' : `?driver=${encodeURIComponent(call.driver as string)}`;
        return host.attempt('DELETE', `/devices/${call.bdf}/driver${of}`);
      }
      case 'driver_unbind_wait': {
        const { unbinding } = await host.ask('GET', `/devices/${call.bdf}`);
        return unbinding === true ? { blocked: true } : { ret: 0 };
      }
      case 'kexec': {
        const result = await host.attempt('POST', '/kexec', { mode: 'live-update' });
        if (result.errno !== undefined) return result;
        this.#contexts.clear();
        this.#devices.forget();
        await host.startProcesses();
        return result;
      }
      case 'exit':
        await host.endProcess(call.pid);
        for (const context of this.#contexts.exited(call.pid)) await this.#closed(context);
        return { ret: 0 };
      default:
        throw new ReplayError(`no such call: ${call.call}`);
    }
  }

  /**
   * `attach` to a dead object: the new device has its id before the object is looked up, and it may be just this one.
   * ENOENT and EINVAL are both right then.
   */
  async #isExcepted(call: TracedCall, got: Result): Promise<boolean> {
    const { call: name, pt, expect } = call;
    if (name !== 'attach' || typeof pt !== 'string' || expect.errno === got.errno) return false;
    const either = ['ENOENT', 'EINVAL'];
    if (!either.includes(String(expect.errno)) || !either.includes(String(got.errno))) return false;
    if (this.#symbols.isSuperseded(pt)) return true;
    const fd = this.#symbols.argument(call.fd as Json);
    const { objects } = await this.#host.ask('GET', `/processes/${this.#host.pid(call.pid)}/iommufds/${fd}`);
    const id = this.#symbols.argument(pt);
    return !(objects as JsonObject[]).some((object) => object.id === id);
  }
}

/** The symbol that the device has from now on; null if the trace says that it fails. */
function deviceSymbol({ expect }: TracedCall): string | null {
  const symbol = expect.arg?.dev_id;
  return typeof symbol === 'string' ? symbol : null;
}
