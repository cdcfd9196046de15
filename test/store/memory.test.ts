import { testContract } from './contract.ts';
import { newMemory, openMemory } from './memory.ts';

testContract('memory', async () => {
  const memory = newMemory();
  return {
    store: openMemory(memory),
    other: openMemory(memory),
    damage(what, hostId) {
      const { row, journal, snapshots, damaged } = memory.hosts.get(hostId)!;
      const newest = {
        spec: row,
        snapshot: snapshots.at(-1),
        payload: journal.findLast(({ payload }) => payload !== undefined),
        handover: journal.findLast(({ handover }) => handover !== undefined)?.handover,
      };
      damaged.add(newest[what]!);
    },
  };
});
