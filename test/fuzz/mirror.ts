/**
 * A host in this process to which the same is done as to one of the service: what is asked next goes by what it has, and
 * the service has to answer what it answers.
 */
import type { Answer, Command } from '../../src/host/command.ts';
import { buildFunction } from '../../src/host/function-spec.ts';
import { CallsInput } from '../../src/http/schemas/calls.ts';
import type { Process } from '../../src/kernel/process.ts';
import type { CallInput } from '../../src/kernel/uapi/calls.ts';
import { REQUESTS } from '../../src/kernel/uapi/index.ts';
import { digestOf } from '../../src/lanes/state-digest.ts';
import type { Random } from '../crash/random.ts';
import { FUNCTIONS, Wild } from '../host/invariants/wild.ts';
import { Strange } from './strange.ts';

export interface Exchange {
  method: string;
  /** Below the host. */
  path: string;
  body?: unknown;
  answer: Answer;
  /** How many system calls. */
  calls: number;
}

/** A call that no schema takes is made anew, so often. */
const ATTEMPTS = 20;
const PLANS = 0.3;
/** Calls of a short list. */
const SHORT = 3;
const HARMLESS: CallInput = { call: 'open', path: '/dev/null' };

export class Mirror {
  readonly #random: Random;
  readonly #wild: Wild;
  readonly #strange: Strange;
  /** How often each call has been made and was not refused, and was. */
  readonly #outcomes: Outcomes;

  constructor(random: Random, outcomes: Outcomes) {
    this.#random = random;
    this.#wild = new Wild(random, PLANS);
    this.#strange = new Strange(random);
    this.#outcomes = outcomes;
  }

  get body(): unknown {
    return this.#wild.body;
  }

  get digest(): string {
    return digestOf(this.#wild.host);
  }

  /** `most`: calls of a list. */
  next(most: number): Exchange {
    const command = this.#command();
    if (command.op === 'calls') {
      // In long lists what was built is soon in ruins, so there are short ones.
      const isShort = this.#wild.hasPlan || this.#random.chance(0.6);
      const length = this.#random.between(1, isShort ? SHORT : most);
      return this.#calls(command.pid, length, command.calls[0]!);
    }
    if (command.op === 'device.add') return this.#add(command.device.bdf);
    return { ...sentAs(command), answer: this.#wild.execute(command), calls: 0 };
  }

  #command(): Command {
    for (;;) {
      const command = this.#wild.next();
      // It is the service that would have it.
      if (command.op !== 'fault.arm' || command.point !== 'service.death') return command;
    }
  }

  #calls(pid: number, length: number, first: CallInput): Exchange {
    const process = this.#wild.host.kernel!.processes.get(pid)!;
    const [sent, parsed]: [CallInput[], CallInput[]] = [[], []];
    // Each one is made when the ones before it are done.
    const calls = new Proxy(new Array<CallInput>(length), {
      get: (list, name) => {
        const index = typeof name === 'string' ? Number(name) : Number.NaN;
        if (!Number.isInteger(index)) return Reflect.get(list, name);
        while (parsed.length <= index) {
          const made = sent.length === 0 ? valid(first) : this.#call(process);
          sent.push(made?.sent ?? HARMLESS);
          parsed.push(made?.parsed ?? HARMLESS);
        }
        return parsed[index];
      },
    });
    const answer = this.#wild.execute({ op: 'calls', pid, calls });
    this.#outcomes.note(sent, answer);
    return { method: 'POST', path: `/processes/${pid}/calls`, body: { calls: sent }, answer, calls: sent.length };
  }

  #call(process: Process): Made | undefined {
    const random = this.#random;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const isStrange = random.chance(0.4);
      const call = isStrange ? this.#strange.call(process, this.#wild.host.kernel!) : this.#wild.call(process);
      const made = valid(call);
      if (made === undefined) continue;
      return random.chance(isStrange ? 0.4 : 0.2) ? valid(this.#strange.asBytes(made.parsed)) : made;
    }
    return undefined;
  }

  #add(bdf: string): Exchange {
    const { host } = this.#wild;
    const body = { ...FUNCTIONS.find((fn) => fn.bdf === bdf)!, driver: this.#random.chance(0.5) ? 'vfio-pci' : null };
    const devices = host.query({ view: 'devices' });
    const functions = (devices.kind === 'ok' ? devices.value : []) as never;
    const built = buildFunction(body, { iommus: host.spec.machine.iommus, functions });
    const answer: Answer =
      'errors' in built
        ? { kind: 'not-found', what: 'a place for it' }
        : this.#wild.execute({ op: 'device.add', device: built.function });
    return { method: 'POST', path: '/devices', body, answer, calls: 0 };
  }
}

interface Made {
  sent: CallInput;
  parsed: CallInput;
}

/** Undefined where the API does not take it. */
function valid(call: CallInput): Made | undefined {
  // As it arrives: what is undefined does not.
  const sent = JSON.parse(JSON.stringify(call)) as CallInput;
  const parsed = CallsInput.safeParse({ calls: [sent] });
  return parsed.success ? { sent, parsed: parsed.data.calls[0]! } : undefined;
}

function sentAs(command: Command): Pick<Exchange, 'method' | 'path' | 'body'> {
  switch (command.op) {
    case 'process.create': {
      const { op: _, ...body } = command;
      return { method: 'POST', path: '/processes', body };
    }
    case 'process.kill':
      return { method: 'DELETE', path: `/processes/${command.pid}` };
    case 'driver.bind':
      return { method: 'PUT', path: `/devices/${command.bdf}/driver`, body: { driver: command.driver } };
    case 'driver.unbind':
      return { method: 'DELETE', path: `/devices/${command.bdf}/driver` };
    case 'device.remove':
      return { method: 'DELETE', path: `/devices/${command.bdf}` };
    case 'device.dma':
      return { method: 'POST', path: `/devices/${command.bdf}/dma`, body: { accesses: command.accesses } };
    case 'group.type':
      return { method: 'PUT', path: `/groups/${command.group}/type`, body: { type: command.type } };
    case 'fault.arm': {
      const { op: _, ...body } = command;
      return { method: 'POST', path: '/faults', body };
    }
    case 'kexec.freeze': {
      const { op: _, ...body } = command;
      return { method: 'POST', path: '/kexec', body };
    }
    case 'crash':
    case 'reset':
      return { method: 'POST', path: `/${command.op}`, body: {} };
    default:
      throw new Error(`nobody asks for ${command.op} here`);
  }
}

const NAMES = new Map([...REQUESTS.values()].map(({ name, number }) => [number, name] as const));

/** How often each call and request was done, and was refused. */
export class Outcomes {
  readonly counts = new Map<string, { done: number; refused: number }>();

  note(sent: readonly CallInput[], answer: Answer): void {
    if (answer.kind !== 'ok') return;
    for (const [index, { ret }] of (answer.value as { results: { ret: unknown }[] }).results.entries()) {
      const { call, request } = sent[index]!;
      const name = call === 'ioctl' ? (NAMES.get(Number(request)) ?? String(request)) : call;
      const count = this.counts.get(name) ?? { done: 0, refused: 0 };
      count[ret === -1 ? 'refused' : 'done'] += 1;
      this.counts.set(name, count);
    }
  }
}
