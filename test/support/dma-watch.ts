/** What a device notices of what software does: has any access in flight failed or paused since last asked? */
import assert from 'node:assert/strict';
import type { HostEvent } from '../../src/host/views.ts';
import type { Host } from './client.ts';

/** Kinds of the domains that a function was put on, in order. */
function attachedKinds(events: HostEvent[], bdf: string): unknown[] {
  return events.filter((e) => e.kind === 'iommu.attach' && e.data.bdf === bdf).map((e) => e.data.domain);
}

/** Watches one IOVA of a function. */
export class DmaWatch {
  readonly #host: Host;
  readonly #bdf: string;
  readonly #iova: number;
  readonly #bytes: string;
  #cursor = '0';
  #resets = 0;

  constructor(host: Host, bdf: string, iova: number, bytes: string) {
    this.#host = host;
    this.#bdf = bdf;
    this.#iova = iova;
    this.#bytes = bytes;
  }

  async start(): Promise<this> {
    this.#cursor = await this.#host.cursor();
    this.#resets = (await this.#host.device(this.#bdf)).resets;
    await this.noGap();
    return this;
  }

  /** Still the same bytes, and neither reset, fault, blocking nor default domain since last asked. */
  async noGap(): Promise<void> {
    const seen = await this.#host.dmaRead(this.#bdf, this.#iova, this.#bytes.length);
    assert.equal(seen.toString(), this.#bytes, 'the device reads the same bytes');
    const events = await this.#host.events(this.#cursor);
    const gaps = attachedKinds(events, this.#bdf).filter((kind) => kind !== 'paging');
    assert.deepEqual(gaps, [], 'no domain between the two that blocks');
    assert.ok(!events.some((e) => this.#isFaultHere(e)), 'no access faulted');
    assert.equal((await this.#host.device(this.#bdf)).resets, this.#resets, 'no reset');
    this.#cursor = events.at(-1)?.id ?? this.#cursor;
  }

  #isFaultHere({ kind, data }: HostEvent): boolean {
    const offset = Number(data.iova) - this.#iova;
    return kind === 'dma.fault' && data.bdf === this.#bdf && offset >= 0 && offset < this.#bytes.length;
  }
}
