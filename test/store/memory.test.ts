import { testContract } from './contract.ts';
import { newMemory, openMemory } from './memory.ts';

testContract('memory', async () => {
  const memory = newMemory();
  return {
    store: openMemory(memory),
    other: openMemory(memory),
    damage(what, hostId) {
      const { row, journal, snapshots, events, damaged } = memory.hosts.get(hostId)!;
      if (what === 'end') {
        journal.pop();
        return;
      }
      const newest = {
        spec: row,
        command: journal.at(-1),
        event: events.at(-1),
        snapshot: snapshots.at(-1),
        payload: journal.findLast(({ payload }) => payload !== undefined),
        handover: journal.findLast(({ handover }) => handover !== undefined)?.handover,
      };
      damaged.add(newest[what]!);
    },
  };
});
