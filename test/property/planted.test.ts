/** That the property tests can fail: models with one wrong rule each, every one of which must be found out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PAGE } from './model/base.ts';
import type { Ioas } from './model/ioas.ts';
import { Model } from './model.ts';
import { run } from './run.ts';

const SEQUENCES = 3000;
const SEED = 1;

type Change = Partial<Pick<Ioas, 'unmap' | 'place' | 'cut' | 'alignment'>>;

/** A model whose IOASes are made differently. */
function modelWith(change: (ioas: Ioas) => Change) {
  return class extends Model {
    override makeIoas(): Ioas {
      const ioas = super.makeIoas();
      return Object.assign(ioas, change(ioas));
    }
  };
}

/** A frame too many is kept: what a leak looks like from the other side. */
class Forgetful extends Model {
  override settle(): void {}
}

class NeverBusy extends Model {
  override owner() {
    return null;
  }
}

const WRONG: Readonly<Record<string, new (...machine: ConstructorParameters<typeof Model>) => Model>> = {
  'an unmap takes the areas that it cuts': modelWith((ioas) => ({
    unmap: (start, last, onGone) => {
      for (const area of ioas.overlapping(start, last)) {
        ioas.remove(area);
        onGone(area.last - area.iova + 1n);
      }
    },
  })),
  'a fixed IOVA need not be aligned': modelWith((ioas) => {
    const place = ioas.place.bind(ioas);
    return {
      place: (address, length, wanted) =>
        wanted !== null && wanted % PAGE === 0x800n ? wanted : place(address, length, wanted),
    };
  }),
  'the alignment does not grow with huge pages off': modelWith((ioas) => {
    const alignment = ioas.alignment.bind(ioas);
    return { alignment: (domains) => alignment(domains, true) };
  }),
  'nothing is ever cut': modelWith(() => ({ cut: () => {} })),
  'pins are never let go': Forgetful,
  'the DMA of a group has no owner': NeverBusy,
};

for (const [rule, Wrong] of Object.entries(WRONG))
  test(`a model in which ${rule} is found out`, () => {
    const { failure } = run({ sequences: SEQUENCES, seed: SEED }, Wrong);
    assert.match(failure ?? 'nothing found', /--- calls/);
  });
