/** A host and its clients, all of which ask at the same time. */
import type { DeviceView } from '../../src/host/views.ts';
import { acknowledgedBy } from './batches.ts';
import { Guest } from './guest.ts';
import { type Client, type Operation, type Outcome, operation } from './operations.ts';
import { DEVICES, Hardware, Operator } from './others.ts';
import { Random } from './random.ts';
import type { Wire } from './wire.ts';

const GUESTS = 3;

/** What hosts are made from. */
export const HOST_BODY = { preset: 'vmm-lab' };

/** Counts answers, so that something can happen after so many of them. */
export class Load {
  ended = false;
  answers = 0;
  #waiting: { answers: number; resolve: () => void }[] = [];
  #reboot: (() => void) | null = null;

  answered(): void {
    this.answers += 1;
    for (const { answers, resolve } of this.#waiting) if (answers === this.answers) resolve();
  }

  /** Resolves after so many more answers. */
  after(more: number): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ answers: this.answers + more, resolve }));
  }

  /** Resolves when someone asks for a reboot. */
  reboot(): Promise<void> {
    return new Promise((resolve) => {
      this.#reboot = resolve;
    });
  }

  rebooting(): void {
    this.#reboot?.();
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
  /** Operations of processes at work; a reboot waits for none. */
  #shared = 0;
  #reboots = false;
  #wake: (() => void)[] = [];
  /** Something was asked of which nobody knows whether it has happened. */
  #unsure = false;

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
    await Promise.all(this.clients.map((client) => this.#drive(client, wire, load)));
    this.#reboots = false;
  }

  /** Reads what a process and a device see. */
  async inspect(wire: Wire): Promise<void> {
    for (const guest of this.guests) {
      const inspection = guest.inspect();
      if (inspection !== null) await this.#ask(guest, inspection, wire);
    }
    for (const inspection of this.hardware.inspect()) await this.#ask(this.hardware, inspection, wire);
  }

  async #drive(client: Client, wire: Wire, load: Load): Promise<void> {
    while (!load.ended) {
      // Hardware does not care which kernel runs.
      const leave = client === this.hardware ? () => {} : await this.#enter();
      if (load.ended) return leave();
      const next = client.next();
      if (Operator.isReboot(next)) {
        if (this.#unsure) {
          leave();
          continue;
        }
        await this.#alone(leave);
        if (load.ended) return this.#open();
        load.rebooting();
      }
      const outcome = await this.#ask(client, next, wire);
      if (outcome === 'answered') load.answered();
      if (outcome === 'unknown') this.#unsure = true;
      // What follows an unknown reboot might be asked of another kernel.
      if (Operator.isReboot(next) && outcome !== 'unknown') this.#open();
      leave();
      if (outcome === 'unknown') return;
    }
    this.#wakeAll();
  }

  async #ask(client: Client, asked: Operation, wire: Wire): Promise<Outcome> {
    this.asked.get(client)!.push(asked);
    const path = `/v1/hosts/${this.id}${asked.request.path}`;
    const answer = await wire.ask({ ...asked.request, path }, (line) => {
      asked.acknowledged = acknowledgedBy(line);
    });
    asked.outcome = outcomeOf(answer);
    if (asked.outcome === 'answered') {
      asked.answer = answer;
      asked.learn?.(answer!);
    }
    return asked.outcome;
  }

  async #enter(): Promise<() => void> {
    while (this.#reboots) await new Promise<void>((resolve) => this.#wake.push(resolve));
    this.#shared += 1;
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      this.#shared -= 1;
      this.#wakeAll();
    };
  }

  /** Leaves, and resolves when all others have too. */
  async #alone(leave: () => void): Promise<void> {
    this.#reboots = true;
    leave();
    while (this.#shared > 0) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  #open(): void {
    this.#reboots = false;
    this.#wakeAll();
  }

  #wakeAll(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resolve of wake) resolve();
  }
}
