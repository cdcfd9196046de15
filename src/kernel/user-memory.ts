/**
 * Memory of a program, as far as a system call reaches it (copy_from_user, copy_to_user): what the caller gives with the
 * call, and else the address space of the simulated process.
 */
import { hex, PAGE } from '../machine/address.ts';
import { Refusal, refuse } from './errno.ts';
import { TASK_SIZE } from './mm/address-space.ts';
import type { Process } from './process.ts';
import type { MemoryBytes } from './uapi/calls.ts';

/** Bytes of the program that are not in the simulated process; `written`: the kernel has stored something there. */
interface Region {
  readonly address: bigint;
  readonly end: bigint;
  readonly bytes: Uint8Array;
  written: boolean;
}

export class UserMemory {
  private readonly _process: Process;
  private readonly _regions: readonly Region[];

  /** Of regions that overlap the first one counts. */
  constructor(process: Process, given: readonly MemoryBytes[]) {
    this._process = process;
    this._regions = given.map(({ address, bytes: base64 }) => {
      const bytes = Uint8Array.fromBase64(base64);
      const start = BigInt(address);
      return { address: start, end: start + BigInt(bytes.length), bytes, written: false };
    });
  }

  /** What was given and has been written to, as it is now. */
  get written(): MemoryBytes[] {
    return this._regions
      .filter(({ written }) => written)
      .map(({ address, bytes }) => ({ address: hex(address), bytes: bytes.toBase64() }));
  }

  /** Returns up to `length` bytes from an address on: less where the memory ends before. */
  read(address: bigint, length: number): Uint8Array {
    const out = new Uint8Array(length);
    const done = this._walk(address, length, (at, done, room) => {
      const region = this._regionAt(at);
      const piece = region
        ? region.bytes.subarray(Number(at - region.address)).subarray(0, room)
        : this._process.mm.read(at, room);
      if (piece instanceof Refusal) return 0;
      out.set(piece, done);
      return piece.length;
    });
    return out.subarray(0, done);
  }

  /** Stores bytes; false: the memory ends before, or cannot be written. What came before that is stored. */
  write(address: bigint, bytes: Uint8Array): boolean {
    const done = this._walk(address, bytes.length, (at, done, room) => {
      const region = this._regionAt(at);
      if (!region) return this._process.mm.write(at, bytes.subarray(done, done + room)) ? 0 : room;
      const count = Math.min(room, Number(region.end - at));
      region.bytes.set(bytes.subarray(done, done + count), Number(at - region.address));
      region.written = true;
      return count;
    });
    return done === bytes.length;
  }

  /** Whether bytes can be stored there. */
  writable(address: bigint, length: number): boolean {
    const done = this._walk(address, length, (at, _done, room) => {
      const region = this._regionAt(at);
      if (region) return Math.min(room, Number(region.end - at));
      const bytes = this._process.mm.read(at, room);
      return bytes instanceof Refusal || this._process.mm.write(at, bytes) ? 0 : room;
    });
    return done === length;
  }

  /** Sets bits and clears none; those that cannot be stored are lost. */
  merge(address: bigint, bits: Uint8Array): void {
    for (let at = 0; at < bits.length; ) {
      let end = at;
      while (end < bits.length && bits[end] !== 0 && end - at < Number(PAGE)) end++;
      const start = address + BigInt(at);
      const merged = this.read(start, end - at).map((byte, index) => byte | bits[at + index]!);
      this.write(start, merged);
      // A byte without a bit, or one that cannot be reached, is passed over.
      at += Math.max(merged.length, 1);
    }
  }

  /**
   * Goes from piece to piece: `step` moves at most `room` bytes, of one region or of the process, and returns how many.
   * What the process does not have in one piece is tried page by page. Returns the bytes that were moved.
   */
  private _walk(address: bigint, length: number, step: (at: bigint, done: number, room: number) => number): number {
    let done = 0;
    while (done < length) {
      const at = address + BigInt(done);
      if (at >= TASK_SIZE) break;
      const room = Math.min(length - done, this._untilRegion(at), Number(TASK_SIZE - at));
      const moved = step(at, done, room) || step(at, done, Math.min(room, Number(PAGE - (at % PAGE))));
      if (moved === 0) break;
      done += moved;
    }
    return done;
  }

  private _regionAt(address: bigint): Region | undefined {
    return this._regions.find((region) => region.address <= address && address < region.end);
  }

  /** Bytes from an address in the process to the next region; of a region, and where none follows, all there can be. */
  private _untilRegion(address: bigint): number {
    if (this._regionAt(address)) return Number.MAX_SAFE_INTEGER;
    let next = TASK_SIZE;
    for (const region of this._regions) if (region.address > address && region.address < next) next = region.address;
    return Number(next - address);
  }
}

/** The third argument of an ioctl: a number, mostly the address of a struct. */
export interface Argument {
  readonly value: bigint;
  /** Returns up to `length` bytes of what it points to, from byte `at` on: less where the memory ends before. */
  read(at: number, length: number): Uint8Array;
  /** Whether its first bytes can be stored to. */
  writable(length: number): boolean;
  /** Stores bytes there; false: it cannot. */
  write(at: number, bytes: Uint8Array): boolean;
}

/** An argument that points to bytes of the caller; as a number it is these, lowest first. */
export class BytesArgument implements Argument {
  readonly bytes: Uint8Array;
  written = false;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get value(): bigint {
    return this.bytes.subarray(0, 8).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
  }

  read(at: number, length: number): Uint8Array {
    return this.bytes.slice(at, at + length);
  }

  writable(length: number): boolean {
    return length <= this.bytes.length;
  }

  write(at: number, bytes: Uint8Array): boolean {
    if (at + bytes.length > this.bytes.length) return false;
    this.bytes.set(bytes, at);
    this.written = true;
    return true;
  }
}

export class AddressArgument implements Argument {
  readonly value: bigint;
  private readonly _memory: UserMemory;

  constructor(value: bigint, memory: UserMemory) {
    this.value = value;
    this._memory = memory;
  }

  read(at: number, length: number): Uint8Array {
    return this._memory.read(this.value + BigInt(at), length);
  }

  writable(length: number): boolean {
    return this._memory.writable(this.value, length);
  }

  write(at: number, bytes: Uint8Array): boolean {
    return this._memory.write(this.value + BigInt(at), bytes);
  }
}

export const fault = (why: string, where = 'copy_from_user'): Refusal => refuse('EFAULT', where, why);
