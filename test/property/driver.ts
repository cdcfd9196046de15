/**
 * The host that a sequence is run against: in this process, or behind HTTP. A sequence is a generator that yields what
 * it wants done and is given the answer, so that it does not care which.
 */
import type { Answer, Command, HostQuery } from '../../src/host/command.ts';
import { Host as Engine } from '../../src/host/host.ts';
import { buildHostSpec, type HostRequest } from '../../src/host/host-spec.ts';
import { mustHold } from '../../src/host/invariants/walk.ts';
import { Shadow } from '../support/shadow.ts';

export type Demand = { command: Command } | { query: HostQuery };

export interface HostLeaf {
  iova: bigint;
  bytes: bigint;
  physical: number;
  access: number;
  dirty: boolean;
}

/** What a sequence sees of its host. */
export class Host {
  readonly #leaves: (domain: number) => HostLeaf[] | null;

  constructor(leaves: (domain: number) => HostLeaf[] | null) {
    this.#leaves = leaves;
  }

  *execute(command: Command): Generator<Demand, Answer, Answer> {
    return yield { command };
  }

  *query<T>(query: HostQuery): Generator<Demand, T, Answer> {
    const answer = yield { query };
    if (answer.kind !== 'ok') throw new Error(`${JSON.stringify(query)}: ${JSON.stringify(answer)}`);
    return answer.value as T;
  }

  /** All leaves of a domain's page table, or null where that cannot be seen. */
  leaves(domain: number): HostLeaf[] | null {
    return this.#leaves(domain);
  }
}

export type Sequence = Generator<Demand, void, Answer>;

/** Runs a sequence on a host in this process, which must be whole after each command. */
export function runInProcess(body: Record<string, unknown>, sequence: (host: Host) => Sequence): void {
  const built = buildHostSpec(body as HostRequest);
  if ('errors' in built) throw new Error(JSON.stringify(built.errors));
  const engine = new Engine(built.spec);
  const shadow = new Shadow(engine.machine);
  const running = sequence(new Host((domain) => leavesOf(engine, domain)));
  for (let step = running.next(); !step.done; ) {
    const demand = step.value;
    if ('query' in demand) {
      step = running.next(engine.query(demand.query));
      continue;
    }
    const { answer } = engine.execute(demand.command);
    mustHold(engine);
    step = running.next(answer);
  }
  shadow.compare();
}

function leavesOf(engine: Engine, id: number): HostLeaf[] {
  const domain = engine.kernel!.iommu.domains.get(id)!;
  const { minShift } = domain.format;
  const leaves: HostLeaf[] = [];
  for (const extent of domain.table.extents(0, Number.MAX_SAFE_INTEGER))
    for (let at = extent.unit; at < extent.unit + extent.units; ) {
      const { unit, shift, physical, access, dirty } = domain.table.lookup(at)!;
      leaves.push({ iova: BigInt(unit) << BigInt(minShift), bytes: 1n << BigInt(shift), physical, access, dirty });
      at = unit + 2 ** (shift - minShift);
    }
  return leaves;
}
