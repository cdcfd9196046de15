/** A host and its clients, all of which ask at the same time. */
import type { DeviceView } from '../../src/host/views.ts';
import { acknowledgedBy } from './batches.ts';
import { Gate } from './gate.ts';
import { Guest } from './guest.ts';
import { type Client, isReboot, type Operation, type Outcome, outcomeOf } from './operations.ts';
import { DEVICES, Hardware, Operator } from './others.ts';
import { Random } from './random.ts';
import type { Wire } from './wire.ts';

const GUESTS = 3;

/** What hosts are made from. */
export const HOST_BODY = { preset: 'vmm-lab' };

/** Work that goes on until it is ended. Counts answers, so that something can happen after so many of them. */
export class Load {
  answers = 0;
  readonly #end = new AbortController();
  #waiting: { answers: number; resolve: () => void }[] = [];
  #reboot = Promise.withResolvers<void>();

  get ended(): boolean {
    return this.#end.signal.aborted;
  }

  end(): void {
    this.#end.abort();
  }

  onEnd(listener: () => void): void {
    this.#end.signal.addEventListener('abort', listener, { once: true });
  }

  answered(): void {
    this.answers += 1;
    for (const { answers, resolve } of this.#waiting) if (answers === this.answers) resolve();
  }

  /** Resolves after so many more answers. */
  after(more: number): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ answers: this.answers + more, resolve }));
  }

  /** Resolves when a reboot is asked for. */
  get reboot(): Promise<void> {
    return this.#reboot.promise;
  }

  rebooting(): void {
    this.#reboot.resolve();
  }
}

export class CrashHost {
  readonly name: string;
  readonly id: string;
  readonly guests: readonly Guest[];
  readonly hardware: Hardware;
  readonly clients: readonly Client[];
  readonly #operator: Operator;
  /** By client: asked, in this order, and not looked up in the journal yet. */
  readonly asked = new Map<Client, Operation[]>();
  /** Something was asked of which nobody knows whether it has happened. */
  #unsure = false;
  /** Nobody knows which kernel runs. */
  #over = false;

  constructor(name: string, id: string, devices: readonly DeviceView[], seed: string | number) {
    this.name = name;
    this.id = id;
    this.guests = DEVICES.slice(0, GUESTS).map((bdf, index) => {
      const cdev = devices.find((device) => device.bdf === bdf)?.cdev ?? null;
      const guest = `${name}-guest${index}`;
      return new Guest(guest, bdf, cdev, new Random(seed, guest));
    });
    this.hardware = new Hardware(`${name}-hardware`, new Random(seed, name, 'hardware'));
    this.#operator = new Operator(`${name}-operator`, this.guests, new Random(seed, name, 'operator'));
    this.clients = [...this.guests, this.hardware, this.#operator];
    for (const client of this.clients) this.asked.set(client, []);
  }

  /** All of its clients, until the load ends or the service does. */
  async run(wire: Wire, load: Load): Promise<void> {
    this.#unsure = false;
    this.#over = false;
    // Afterwards a process may have the number of another one: nobody asks as a process during a reboot.
    const gate = new Gate();
    load.onEnd(() => gate.end());
    await Promise.all(this.clients.map((client) => this.#drive(client, wire, load, gate)));
  }

  async #drive(client: Client, wire: Wire, load: Load, gate: Gate): Promise<void> {
    const ended = (): boolean => load.ended || this.#over;
    while (!ended()) {
      // Hardware does not care which kernel runs.
      const leave = client === this.hardware ? () => {} : await gate.enter();
      if (ended()) return leave();
      const next = client.next();
      const reboots = isReboot(next);
      if (reboots) {
        leave();
        if (this.#unsure) continue;
        await gate.shut();
        if (ended()) return;
        load.rebooting();
      }
      const outcome = await this.#ask(client, next, wire);
      leave();
      if (outcome === 'answered') load.answered();
      if (outcome === 'unknown') {
        this.#unsure = true;
        if (!reboots) return;
        this.#over = true;
        return gate.end();
      }
      if (reboots) gate.reopen();
    }
  }

  /** Reads what processes and devices see. */
  async inspect(wire: Wire): Promise<void> {
    for (const guest of this.guests) {
      const inspection = guest.inspect();
      if (inspection !== null) await this.#ask(guest, inspection, wire);
    }
    for (const inspection of this.hardware.inspect()) await this.#ask(this.hardware, inspection, wire);
  }

  async #ask(client: Client, asked: Operation, wire: Wire): Promise<Outcome> {
    this.asked.get(client)!.push(asked);
    const path = `/v1/hosts/${this.id}${asked.request.path}`;
    const answer = await wire.ask({ ...asked.request, path }, (line) => {
      asked.acknowledged = acknowledgedBy(line);
    });
    asked.outcome = outcomeOf(answer);
    asked.answer = answer;
    if (asked.outcome === 'answered') asked.learn?.(answer!);
    return asked.outcome;
  }
}
