/** A small client of the HTTP API for tests: reads like the program it stands for. A refusal is thrown. */
import assert from 'node:assert/strict';
import type request from 'supertest';
import type { DmaResult } from '../../src/host/command.ts';
import type {
  DeviceView,
  DomainView,
  EngineView,
  FaultView,
  HandoverView,
  HostEvent,
  HostView,
  PreflightView,
  SessionView,
} from '../../src/host/views.ts';
import type { CallResult } from '../../src/kernel/uapi/calls.ts';
import { hex, KernelError } from './kernel-error.ts';
import { Process } from './process.ts';
import { asRequested } from './raw-ioctl.ts';

export const D1 = '0000:01:00.0';
export const D2 = '0000:02:00.0';
export const D3 = '0000:03:00.0';
export const D4 = '0000:03:00.1';
export const E1 = '0000:04:00.0';
const KIB = 1024;
export const MIB = 1024 * KIB;

export type HostBody = Record<string, unknown>;
type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

const base64 = (data: string | Uint8Array): string => Buffer.from(data).toString('base64');

export type KexecAnswer = HostView & { handedOver: HandoverView; hazards?: HostEvent[] };

interface Page<Item> {
  items: Item[];
  nextPageToken: string | null;
}

/** The service, and who asks it. */
export interface Served {
  readonly agent: ReturnType<typeof request>;
  readonly key: string;
}

/** It makes hosts, too; of the preset `vmm-lab` unless the body says otherwise. */
export interface HostMaker extends Served {
  host(body?: HostBody): Promise<Host>;
}

export class Host {
  readonly id: string;
  /** The hazards that answers have told, refusals among them. */
  readonly told: HostEvent[] = [];
  readonly #app: Served;

  constructor(app: Served, id: string) {
    this.#app = app;
    this.id = id;
  }

  static async create(app: Served, body: HostBody): Promise<Host> {
    const host = new Host(app, '');
    const created = (await host.ask('post', '/v1/hosts', body)) as { id: string };
    return new Host(app, created.id);
  }

  /** A request under `/v1/hosts/{host}`; the body of the answer. */
  async request(method: Method, path: string, body?: unknown): Promise<unknown> {
    return this.ask(method, `/v1/hosts/${this.id}${path}`, body);
  }

  /** A request to any path; the body of the answer. */
  async ask(method: Method, path: string, body?: unknown): Promise<unknown> {
    const pending = this.#app.agent[method](path).set('authorization', `Bearer ${this.#app.key}`);
    const answer = await (body === undefined ? pending : pending.send(body as object));
    this.told.push(...((answer.body as { hazards?: HostEvent[] }).hazards ?? []));
    if (answer.status < 300) return answer.body;
    const { errno, detail, rule } = answer.body as { errno?: string; detail?: string; rule?: string };
    if (errno !== undefined) throw new KernelError(errno, `${method} ${path}`, detail, rule);
    throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
  }

  async view(): Promise<HostView> {
    return (await this.request('get', '')) as HostView;
  }

  /** Bytes that the previous kernel handed over and nobody has restored. */
  async reservedBytes(): Promise<number> {
    return Number((await this.view()).memory.reserved);
  }

  async ownedBytes(owner: string): Promise<number> {
    return Number((await this.view()).memory.owners[owner] ?? '0x0');
  }

  async freeBytes(): Promise<number> {
    return Number((await this.view()).memory.free);
  }

  async process(body: { name?: string; capabilities?: string[] } = {}): Promise<Process> {
    const { pid } = (await this.request('post', '/processes', body)) as { pid: number };
    return new Process(this, pid);
  }

  async runCalls(pid: number, calls: Record<string, unknown>[]): Promise<CallResult[]> {
    const answer = await this.request('post', `/processes/${pid}/calls`, { calls: calls.map(asRequested) });
    return (answer as { results: CallResult[] }).results;
  }

  async device(bdf: string): Promise<DeviceView> {
    return (await this.request('get', `/devices/${bdf}`)) as DeviceView;
  }

  async domains(): Promise<DomainView[]> {
    return this.#all('/domains');
  }

  async domain(id: number): Promise<DomainView | undefined> {
    return (await this.domains()).find((domain) => domain.id === id);
  }

  async sessions(): Promise<SessionView[]> {
    return this.#all('/sessions');
  }

  async bindDriver(bdf: string, driver: string): Promise<DeviceView> {
    return (await this.request('put', `/devices/${bdf}/driver`, { driver })) as DeviceView;
  }

  /** True if it goes on only when the last descriptor of the device is closed. */
  async unbindDriver(bdf: string): Promise<boolean> {
    const answer = (await this.request('delete', `/devices/${bdf}/driver`)) as { blocked?: boolean };
    return answer.blocked === true;
  }

  async reset(bdf: string): Promise<void> {
    await this.request('post', `/devices/${bdf}/flr`);
  }

  /** The write to the group's `type` in sysfs. */
  async groupType(group: number, type: string): Promise<void> {
    await this.request('put', `/groups/${group}/type`, { type });
  }

  async #dma(bdf: string, access: Record<string, unknown>): Promise<DmaResult> {
    const answer = await this.request('post', `/devices/${bdf}/dma`, { accesses: [access] });
    const result = (answer as { results: DmaResult[] }).results[0];
    assert.ok(result !== undefined, 'a result for each access');
    return result;
  }

  /** What the device reads at this IOVA; fails the test if the access faults. */
  async dmaRead(bdf: string, iova: number, length: number): Promise<Buffer> {
    const result = await this.#dma(bdf, { op: 'read', iova: hex(iova), length });
    assert.ok(result.ok, `DMA of ${bdf} at ${hex(iova)}: ${JSON.stringify(result)}`);
    return Buffer.from(result.data ?? '', 'base64');
  }

  async dmaWrite(bdf: string, iova: number, data: string): Promise<void> {
    const result = await this.#dma(bdf, { op: 'write', iova: hex(iova), length: data.length, data: base64(data) });
    assert.ok(result.ok, `DMA of ${bdf} at ${hex(iova)}: ${JSON.stringify(result)}`);
  }

  /** Fails the test unless a read and a write of the device at this IOVA both fault. */
  async dmaFaults(bdf: string, iova: number): Promise<void> {
    for (const op of ['read', 'write']) {
      const result = await this.#dma(bdf, { op, iova: hex(iova), length: 1 });
      assert.equal(result.ok, false, `${op} of ${bdf} at ${hex(iova)} should fault`);
    }
  }

  /** DMA of a device that goes on by itself; over all of these bytes. */
  async startEngine(
    bdf: string,
    iova: number,
    length: number,
    more: Record<string, unknown> = {},
  ): Promise<EngineView> {
    const body = { ranges: [{ iova: hex(iova), length }], ...more };
    return (await this.request('post', `/devices/${bdf}/engines`, body)) as EngineView;
  }

  async engine({ bdf, id }: EngineView): Promise<EngineView> {
    return (await this.request('get', `/devices/${bdf}/engines/${id}`)) as EngineView;
  }

  /** The reboot system call. Answers the next kernel. */
  async kexec(body: Record<string, unknown> = {}): Promise<KexecAnswer> {
    return (await this.request('post', '/kexec', { mode: 'live-update', ...body })) as KexecAnswer;
  }

  /** What a kexec with this body would do. */
  async preflight({ mode, kernel }: { mode?: string; kernel?: object } = {}): Promise<PreflightView> {
    const query = new URLSearchParams({ ...(mode && { mode }), ...(kernel && { next: JSON.stringify(kernel) }) });
    return (await this.request('get', `/preflight?${query}`)) as PreflightView;
  }

  async crash(): Promise<HostView> {
    return (await this.request('post', '/crash')) as HostView;
  }

  async powerCycle(): Promise<HostView> {
    return (await this.request('post', '/reset')) as HostView;
  }

  async advanceClock(nanoseconds: string): Promise<void> {
    await this.request('post', '/clock', { advance: nanoseconds });
  }

  async armFault(point: string, more: { nth?: number; times?: number; errno?: string } = {}): Promise<FaultView> {
    return (await this.request('post', '/faults', { point, ...more })) as FaultView;
  }

  async disarmFault(fault: FaultView): Promise<void> {
    await this.request('delete', `/faults/${fault.id}`);
  }

  /** The log after the event of this id, to its end. */
  async events(after = '0'): Promise<HostEvent[]> {
    const events: HostEvent[] = [];
    for (let token: string | null = after; token !== null; ) {
      const page = (await this.request('get', `/events?after=${token}`)) as Page<HostEvent>;
      events.push(...page.items);
      token = page.nextPageToken;
    }
    return events;
  }

  /** Id of the last entry of the log. */
  async cursor(): Promise<string> {
    return (await this.events()).at(-1)?.id ?? '0';
  }

  async hazards(after: string): Promise<HostEvent[]> {
    return (await this.events(after)).filter((event) => event.kind === 'hazard');
  }

  async #all<T>(path: string): Promise<T[]> {
    const { items, nextPageToken } = (await this.request('get', path)) as { items: T[]; nextPageToken?: unknown };
    assert.ok(nextPageToken === null || nextPageToken === undefined, `${path} fits a page`);
    return items;
  }
}
