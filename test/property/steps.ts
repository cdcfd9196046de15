/** All steps with their weights, and what fast-check draws: a machine and steps. */
import * as fc from 'fast-check';
import type { Maker } from './actions.ts';
import { MACHINES } from './machines.ts';
import type { Step } from './sequence.ts';
import { CONTAINER_STEPS } from './steps-container.ts';
import { DEVICE_STEPS } from './steps-devices.ts';
import { IOMMUFD_STEPS } from './steps-iommufd.ts';
import { PROCESS_STEPS } from './steps-process.ts';

export const STEPS: Readonly<Record<string, Maker>> = {
  ...PROCESS_STEPS,
  ...IOMMUFD_STEPS,
  ...DEVICE_STEPS,
  ...CONTAINER_STEPS,
};

/** How often, relative to each other; 1 where nothing is said. */
const WEIGHTS: Readonly<Record<string, number>> = {
  map: 14,
  mapHuge: 3,
  attachHwpt: 3,
  mapFile: 7,
  copy: 8,
  unmap: 7,
  attach: 8,
  hwptAlloc: 6,
  bind: 5,
  openCdev: 4,
  openIommufd: 3,
  exit: 2,
  ioasAlloc: 4,
  mmap: 5,
  munmap: 2,
  mprotect: 2,
  memfdCreate: 2,
  detach: 2,
  destroy: 3,
  option: 4,
  allow: 2,
  ranges: 3,
  reserve: 2,
  mapDma: 4,
  unmapDma: 4,
  vfioIoas: 2,
  container: 3,
  setDirty: 3,
  readDirty: 4,
  dmaWrite: 6,
  dmaRead: 4,
  setrlimit: 2,
  changeProcess: 2,
  poke: 2,
  peek: 2,
  dup: 2,
  send: 2,
  compare: 2,
};

const DRAWN = Object.keys(STEPS).flatMap((step) => Array<string>(WEIGHTS[step] ?? 1).fill(step));

/** What leads to a domain with mappings on a device; most sequences begin so. */
const BEGINNINGS: readonly (readonly string[])[] = [
  ['openIommufd', 'ioasAlloc', 'openCdev', 'bind', 'attach', 'mmap', 'map'],
  ['mmap', 'openIommufd', 'ioasAlloc', 'map', 'openCdev', 'bind', 'attach', 'map'],
  ['mmap', 'openIommufd', 'openCdev', 'bind', 'ioasAlloc', 'hwptAlloc', 'map', 'attachHwpt', 'setDirty', 'dmaWrite'],
  ['openIommufd', 'ioasAlloc', 'openCdev', 'bind', 'attach', 'mmap', 'map', 'openCdev', 'bind', 'attach'],
  ['openIommufd', 'ioasAlloc', 'mapHuge', 'openCdev', 'bind', 'attach', 'mapHuge'],
  [
    'setuid',
    'memfdCreate',
    'mmap',
    'openIommufd',
    'ioasAlloc',
    'mapFile',
    'openCdev',
    'bind',
    'attach',
    'map',
    'setrlimit',
  ],
  ['mmap', 'openIommufd', 'ioasAlloc', 'vfioIoas', 'container', 'openCdev', 'bind', 'attach', 'mapDma', 'map'],
  ['openIommufd', 'rlimitMode', 'setuid', 'setrlimit', 'mmap', 'ioasAlloc', 'map', 'openCdev', 'bind', 'attach', 'map'],
  ['mmap', 'openIommufd', 'ioasAlloc', 'openCdev', 'bind', 'attach', 'map', 'send', 'exit'],
  ['openIommufd', 'ioasAlloc', 'openPair', 'bind', 'openPair', 'bind', 'mmap', 'attach', 'map', 'attach', 'attach'],
  ['openIommufd', 'ioasAlloc', 'allowBytes', 'mapByte', 'mapByte', 'mapByte', 'mapByte'],
  [],
];

const NUMBERS = 16;
const numbers = fc.array(fc.nat(0xffff), { minLength: NUMBERS, maxLength: NUMBERS });
/** Mostly the plainest choice. */
const plain = fc.array(fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, fc.nat(0xffff)), {
  minLength: NUMBERS,
  maxLength: NUMBERS,
});
const step = fc.record<Step>({ step: fc.constantFrom(...DRAWN), numbers });

export interface Plan {
  machine: number;
  steps: Step[];
}

export const plans: fc.Arbitrary<Plan> = fc
  .record({
    machine: fc.nat(MACHINES.length - 1),
    beginning: fc
      .constantFrom(...BEGINNINGS)
      .chain((steps) => fc.tuple(...steps.map((name) => fc.record<Step>({ step: fc.constant(name), numbers: plain })))),
    rest: fc.array(step, { minLength: 4, maxLength: 60, size: 'max' }),
  })
  .map(({ machine, beginning, rest }) => ({ machine, steps: [...beginning, ...rest] }));
