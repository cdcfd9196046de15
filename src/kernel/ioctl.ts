/**
 * Runs ioctls: finds the request by its number among those of the kind of file, as Linux does; then the struct is read, by
 * the names of its fields or as bytes, and the handler of the file runs. Sources: iommufd_fops_ioctl,
 * vfio_device_fops_unl_ioctl, luo_session_ioctl.
 */
import { decodeU64 } from '../machine/address.ts';
import { refused } from './call-input.ts';
import { assert, Refusal } from './errno.ts';
import type { IoctlOk, OpenFile } from './file.ts';
import { BytesStruct } from './ioctl-bytes.ts';
import { encodeArg, NamedStruct, type Raw } from './ioctl-names.ts';
import type { StructSource } from './ioctl-struct.ts';
import type { Process } from './process.ts';
import type { CallInput, CallResult } from './uapi/calls.ts';
import { type FileKind, REQUESTS, type RequestDescriptor } from './uapi/index.ts';
import { AddressArgument, BytesArgument, UserMemory } from './user-memory.ts';

/** What files of each kind know, by number. */
const KNOWN = new Map<FileKind, Map<number, RequestDescriptor>>();
for (const request of REQUESTS.values()) {
  const known = KNOWN.get(request.kind) ?? new Map<number, RequestDescriptor>();
  KNOWN.set(request.kind, known.set(request.number, request));
}

/** Kinds whose ioctl reads the size of the struct before all else. VFIO looks at the state of the device first. */
const SIZE_FIRST: ReadonlySet<FileKind> = new Set(['iommufd', 'liveupdate', 'session']);

/** A struct that is given by name to a file that does not know the request, or by number: zeroes behind a size. */
const ZEROES = { least: 256, most: 65_536, size: 8 } as const;

/** The call `ioctl` on this file: by names, by number, or with the bytes of a struct. */
export function ioctlCall(process: Process, file: OpenFile, input: CallInput): CallResult {
  const { bytes, argument, memory = [], arg = {} } = input;
  if (bytes === undefined && argument === undefined) {
    const answer = ioctl(process, file, input.request!, arg);
    return answer instanceof Refusal ? refused(answer) : { ret: answer.ret ?? 0, arg: encodeArg(answer.arg ?? {}) };
  }
  const user = new UserMemory(process, memory);
  const given = bytes === undefined ? null : new BytesArgument(Uint8Array.fromBase64(bytes));
  const struct = new BytesStruct(given ?? new AddressArgument(decodeU64(argument), user), user);
  const answer = run(process, file, numberOf(input.request!), struct);
  const { arg: _byName, ...result }: CallResult =
    answer instanceof Refusal ? refused(answer) : { ret: answer.ret ?? 0 };
  const { written } = user;
  return {
    ...result,
    ...(given && (given.written || result.ret !== -1) && { bytes: given.bytes.toBase64() }),
    ...(written.length > 0 && { memory: written }),
  };
}

/** Runs an ioctl that is named (`IOMMU_IOAS_MAP`), or a number (`0x3bf0`). */
export function ioctl(process: Process, file: OpenFile, request: string | number, raw: Raw): IoctlOk | Refusal {
  const named = REQUESTS.get(String(request));
  if (named?.kind === file.kind) return run(process, file, named.number, new NamedStruct(raw));
  return run(process, file, numberOf(request), zeroes(process, raw));
}

const numberOf = (request: string | number): number =>
  REQUESTS.get(String(request))?.number ?? (typeof request === 'number' ? request : Number.parseInt(request, 16));

/** A program that sends a request to a file of another kind hands over the struct of that request: only the size counts. */
function zeroes(process: Process, raw: Raw): StructSource {
  const size = Number(raw.argsz ?? raw.size ?? ZEROES.size);
  const bytes = new Uint8Array(Math.min(Math.max(size, ZEROES.least), ZEROES.most));
  new DataView(bytes.buffer).setUint32(0, size, true);
  return new BytesStruct(new BytesArgument(bytes), new UserMemory(process, []));
}

function run(process: Process, file: OpenFile, number: number, struct: StructSource): IoctlOk | Refusal {
  const request = KNOWN.get(file.kind)?.get(number);
  if (!request) return unknown(file, number, struct);
  const early = (SIZE_FIRST.has(file.kind) ? struct.sizeMissing(request) : null) ?? file.beforeIoctl(request);
  if (early) return early;
  const given = struct.read(request);
  if (given instanceof Refusal) return given;
  const handler = file.handlers[request.name];
  assert(handler, `${request.name} has a handler`);
  const answer = handler(file as never, given.arg as never, process);
  const done = !(answer instanceof Refusal);
  return struct.write(request, given, answer.arg ?? {}, done) ?? answer;
}

/** A number that the file does not know. Where only the type is another, the size is read before that is seen. */
function unknown(file: OpenFile, number: number, struct: StructSource): Refusal {
  const alike = [...(KNOWN.get(file.kind)?.values() ?? [])].find((request) => ((request.number ^ number) & 0xff) === 0);
  const missing = alike?.tail === 'zero' && SIZE_FIRST.has(file.kind) ? struct.sizeMissing(alike) : null;
  return missing ?? file.beforeIoctl(null) ?? file.unknownIoctl(number);
}
