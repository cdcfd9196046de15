/** What the shapes of a timeline mean. */
import { sample, sampleOf } from './shapes.ts';
import { type DeviceState, NOBODY, UNKNOWN, wordsOf } from './states.ts';

const IN_STATE = (letter: DeviceState['letter']): DeviceState => ({ ...NOBODY, letter });

export const LEGEND = `<ul class="legend" aria-label="Legend">${[
  ...(['L', 'A', 'S', 'X'] as const).map((letter) => [sample(IN_STATE(letter)), wordsOf(IN_STATE(letter))]),
  [sample({ ...NOBODY, owner: 'program' }), 'none of these: a program has it'],
  [sample({ ...NOBODY, owner: 'kernel' }), 'none of these: its driver has it'],
  [sample(NOBODY), 'none of these: nobody has it'],
  [sample(UNKNOWN), 'not known'],
  [sampleOf.engine, 'DMA of an engine, and a gap'],
  [sampleOf.moved, 'it leads to other memory'],
  [sampleOf.hazard, 'hazard'],
  [sampleOf.fault, 'DMA fault or gap, a probe that is refused, a panic, or a fault on demand'],
  [sampleOf.bracket, 'session; dotted: it waits'],
  [sampleOf.token('P'), 'preserved'],
  [sampleOf.token('R'), 'retrieved'],
  [sampleOf.token('F'), 'finished'],
  [sampleOf.token('↺'), 'reset'],
  [sampleOf.none, 'no kernel'],
]
  .map(([shape, text]) => `<li>${shape}<span>${text}</span></li>`)
  .join('')}</ul>`;
