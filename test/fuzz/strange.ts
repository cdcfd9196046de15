/** Calls made from the schemas alone, with what the host has most of the time: as no program makes them, too. */

import { IommufdContext } from '../../src/kernel/iommufd/context.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import type { Process } from '../../src/kernel/process.ts';
import type { CallInput } from '../../src/kernel/uapi/calls.ts';
import { REQUESTS } from '../../src/kernel/uapi/index.ts';
import type { Random } from '../crash/random.ts';
import { IOVA, PAGE } from '../host/invariants/wild.ts';
import { pack } from '../kernel/uapi/packing.ts';
import { namedSchema, type Schema } from '../support/operations.ts';
import { Guess } from './guess.ts';
import { Values } from './values.ts';

const alternatives = (schema: Schema): Schema[] => [...(schema.oneOf ?? []), ...(schema.anyOf ?? [])];
const NAMED = alternatives(namedSchema('Call'));
/** All calls but ioctls. */
const CALLS = weighed(NAMED.filter(({ $ref }) => $ref?.includes('/Call')));
/** All that are known by name. */
const IOCTLS = weighed(NAMED.filter(({ $ref }) => /\/Ioctl(?!Bytes|Argument)/.test($ref!)));
const STRICT = ['size', 'argsz', 'tail', '__reserved', '__reserved2', 'pad'];

/** What ends what others need comes seldom. */
function weighed(schemas: Schema[]): [weight: number, schema: Schema][] {
  const ends = /(Setuid|Setrlimit|Dup2|Close|Munmap|Mremap|Mprotect|Destroy|UnsetContainer|Detach\w*|Finish)$/;
  return schemas.map((schema) => [ends.test(schema.$ref!) ? 0.1 : 1, schema]);
}

/** What pointers lead to may be so many characters, so that lists are not long for one bitmap. */
const MOST_ROOM = 4096;

export class Strange {
  readonly #random: Random;
  readonly #values: Values;
  #process: Process | null = null;

  constructor(random: Random) {
    this.#random = random;
    const guess = new Guess(random);
    this.#values = new Values(random, (name) => this.#there(name) ?? guess.of(name));
  }

  /** A call of the process. It may be one that the schema refuses. */
  call(process: Process, kernel: Kernel): CallInput {
    const random = this.#random;
    this.#process = process;
    const schema = random.weighted(random.chance(0.3) ? CALLS : IOCTLS);
    const call = this.#values.of(schema) as CallInput;
    // One of these that is not as it should be is refused before anything else is looked at.
    for (const name of STRICT) if (call.arg?.[name] !== undefined && random.chance(0.9)) delete call.arg[name];
    if ('to' in call && call.call === 'send_fd') call.to = random.pick([...kernel.processes.keys()])!;
    if (call.call !== 'ioctl') return call;
    const kind = REQUESTS.get(String(call.request))!.kind;
    const fitting = [...process.descriptors].filter(([, file]) => file.kind === kind).map(([fd]) => fd);
    if (fitting.length > 0 && random.chance(0.9)) call.fd = random.pick(fitting)!;
    return call;
  }

  /** By number, with the bytes of a struct, of which some may be wrong. What is no ioctl stays as it is. */
  asBytes(call: CallInput): CallInput {
    const { arg = {}, request, ...rest } = call;
    if (!REQUESTS.has(String(request))) return call;
    const random = this.#random;
    const { given } = pack(String(request), { ...arg, size: undefined, argsz: undefined });
    const number = REQUESTS.get(String(request))!.number;
    const made: CallInput = { ...rest, request: random.chance(0.5) ? number : `0x${number.toString(16)}`, ...given };
    if (!('bytes' in given)) return made;
    const room = given.memory?.reduce((sum, piece) => sum + piece.bytes.length, 0) ?? 0;
    if (room > MOST_ROOM) return call;
    const bytes = Buffer.from(given.bytes, 'base64');
    if (bytes.length === 0 || random.chance(0.6)) return made;
    const at = random.below(bytes.length);
    const changed = random.weighted<() => Buffer>([
      [4, () => bytes.fill(random.below(256), at, at + 1)],
      [2, () => bytes.fill(random.pick([0, 0xff])!, at, Math.min(bytes.length, at + random.pick([1, 2, 4, 8])!))],
      [1, () => bytes.subarray(0, at)],
      [1, () => Buffer.concat([bytes, Buffer.alloc(random.pick([1, 8, 100])!, random.below(2))])],
    ])();
    return { ...made, bytes: changed.toString('base64') };
  }

  #there(name: string): unknown {
    const random = this.#random;
    const { descriptors } = this.#process!;
    if (/^(fd|access|iommufd|container|eventfds?)$/.test(name)) return random.pick([...descriptors.keys()]);
    if (/iova$/.test(name)) return `0x${(IOVA + random.below(48) * PAGE).toString(16)}`;
    if (name === 'flags') return random.chance(0.7) ? random.pick([0, 0, 1, 2, 3, 4, 7]) : undefined;
    if (!/(^|_)id$/.test(name) || name === 'option_id') return undefined;
    const contexts = [...descriptors.values()].filter((file) => file instanceof IommufdContext);
    return random.pick([...(random.pick(contexts)?.objects.visible() ?? [])])?.id;
  }
}
