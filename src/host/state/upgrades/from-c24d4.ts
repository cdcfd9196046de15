/** From engine c24d4d65fab85052, in which what a host had nothing of was an empty map or set, and took room. */
import type { Upgrade } from './upgrade.ts';

/** Sets of a device that nobody has opened. */
const SETS = ['files', 'boundFiles', 'pasids'];

const MAPS: Readonly<Record<string, readonly string[]>> = {
  Faults: ['_armed', '_passes'],
  Kernel: ['_users'],
  Kho: ['_preserved'],
  LiveUpdate: ['_preserved'],
  RestoredDomains: ['devices', '_domains', '_hwpts', '_frozen', '_contexts'],
  Vfio: ['groupFiles'],
};

export const FROM_C24D4: Upgrade = {
  from: 'c24d4d65fab85052',
  to: '5ff74ded9b3ffdfa',
  step(graph) {
    for (const { fields } of graph.objects('VfioDevice'))
      for (const name of SETS) {
        const set = fields[name] as Set<unknown>;
        fields[name] = graph.make('LazySet', { _set: set.size > 0 ? set : null });
      }
    for (const [of, names] of Object.entries(MAPS))
      for (const { fields } of graph.objects(of))
        for (const name of names) {
          const map = fields[name] as Map<unknown, unknown>;
          fields[name] = graph.make('LazyMap', { _map: map.size > 0 ? map : null });
        }
    return undefined;
  },
};
