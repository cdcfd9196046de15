/**
 * What monitoring reads at /metrics, in the text format of Prometheus: of all threads that serve, whichever of them is asked. Each
 * counts in memory that they share, so that none has to be asked; what a thread has counted stays when it dies.
 */
import type { FastifyInstance } from 'fastify';
import type { Metric, MetricValueWithName } from 'prom-client';
import { HAZARD_NAMES, type Hazard } from '../kernel/hazards.ts';
import type { LaneTold } from '../lanes/messages.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Number of the route, for its metrics. */
    operation?: number;
  }
}

/** Upper bounds of the durations that are told apart, in seconds. */
const BOUNDS = [0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10] as const;
/** Of a route: requests by class of the status, then by duration (those above all bounds last), then the sum of the durations. */
const CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const;
const OF_ROUTE = CLASSES.length + BOUNDS.length + 2;
/** Of a thread: the part of the time in which it worked, and its heap in bytes, as last found out. */
const GAUGES = ['load', 'heap'] as const;
/** Routes of the service, at most; the last counts what no route takes. */
const ROUTES = 256;
const PER_THREAD = ROUTES * OF_ROUTE + HAZARD_NAMES.length + GAUGES.length;

const LOOK_MS = 5000;

export const newMetricsMemory = (threads: number): SharedArrayBuffer =>
  new SharedArrayBuffer(threads * PER_THREAD * Float64Array.BYTES_PER_ELEMENT);

interface Operation {
  method: string;
  path: string;
  operationId: string;
}

type Value = MetricValueWithName<string>;

export class Metrics {
  readonly #cells: Float64Array;
  readonly #threads: number;
  /** Where the cells of this thread begin. */
  readonly #own: number;
  /** Mappings of the hosts that are in memory, by host. */
  readonly #mappings = new Map<string, number>();
  #work = performance.eventLoopUtilization();
  readonly #timer: NodeJS.Timeout;

  constructor(memory: SharedArrayBuffer, thread: number) {
    this.#cells = new Float64Array(memory);
    this.#threads = this.#cells.length / PER_THREAD;
    this.#own = thread * PER_THREAD;
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
    this.#look();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** A request was answered after so many milliseconds. `operation`: undefined: no route takes it. */
  note(operation: number | undefined, status: number, milliseconds: number): void {
    const at = this.#own + (operation ?? ROUTES - 1) * OF_ROUTE;
    const cells = this.#cells;
    cells[at + Math.floor(status / 100) - 1]! += 1;
    const seconds = milliseconds / 1000;
    let bound = 0;
    while (bound < BOUNDS.length && seconds > BOUNDS[bound]!) bound += 1;
    cells[at + CLASSES.length + bound]! += 1;
    cells[at + OF_ROUTE - 1]! += seconds;
  }

  noteHazard(hazard: Hazard): void {
    this.#cells[this.#own + ROUTES * OF_ROUTE + HAZARD_NAMES.indexOf(hazard)]! += 1;
  }

  /** What a host takes, and that one is gone. */
  hear(told: Exclude<LaneTold, { door: unknown }>): void {
    if ('removed' in told) this.#mappings.delete(told.removed);
    else if ('use' in told) {
      if (told.use.memory > 0) this.#mappings.set(told.hostId, told.use.mappings);
      else this.#mappings.delete(told.hostId);
    }
  }

  #look(): void {
    const now = performance.eventLoopUtilization();
    const at = this.#own + PER_THREAD - GAUGES.length;
    this.#cells[at] = performance.eventLoopUtilization(now, this.#work).utilization;
    this.#cells[at + 1] = process.memoryUsage().heapUsed;
    this.#work = now;
  }

  /** Of all threads. */
  #sum(cell: number): number {
    let sum = 0;
    for (let thread = 0; thread < this.#threads; thread += 1) sum += this.#cells[thread * PER_THREAD + cell]!;
    return sum;
  }

  *#requests(operations: readonly Operation[]): Generator<Value> {
    for (const [labels, at] of labelled(operations))
      for (const [index, status] of CLASSES.entries()) {
        const value = this.#sum(at + index);
        if (value > 0) yield { labels: { ...labels, status }, value, metricName: 'holdover_requests_total' };
      }
  }

  *#durations(operations: readonly Operation[]): Generator<Value> {
    const metricName = 'holdover_request_duration_seconds';
    for (const [labels, at] of labelled(operations)) {
      let count = 0;
      const buckets: Value[] = [...BOUNDS, '+Inf'].map((le, index) => {
        count += this.#sum(at + CLASSES.length + index);
        return { labels: { ...labels, le }, value: count, metricName: `${metricName}_bucket` };
      });
      if (count === 0) continue;
      yield* buckets;
      yield { labels, value: this.#sum(at + OF_ROUTE - 1), metricName: `${metricName}_sum` };
      yield { labels, value: count, metricName: `${metricName}_count` };
    }
  }

  *#hazards(): Generator<Value> {
    for (const [index, hazard] of HAZARD_NAMES.entries())
      yield { labels: { hazard }, value: this.#sum(ROUTES * OF_ROUTE + index), metricName: 'holdover_hazards_total' };
  }

  *#ofThreads(gauge: (typeof GAUGES)[number], metricName: string): Generator<Value> {
    const cell = PER_THREAD - GAUGES.length + GAUGES.indexOf(gauge);
    for (let lane = 0; lane < this.#threads; lane += 1)
      yield { labels: { lane }, value: this.#cells[lane * PER_THREAD + cell]!, metricName };
  }

  /** Each with its name, type, what it is, and its values. */
  families(operations: readonly Operation[]): readonly Family[] {
    const one = (metricName: string, value: number): Value[] => [{ labels: {}, value, metricName }];
    return [
      ['holdover_requests_total', 'counter', 'Requests that were answered.', () => this.#requests(operations)],
      [
        'holdover_request_duration_seconds',
        'histogram',
        'How long requests took until they were answered.',
        () => this.#durations(operations),
      ],
      ['holdover_hazards_total', 'counter', 'Hazards that commands have caused.', () => this.#hazards()],
      [
        'holdover_hosts_in_memory',
        'gauge',
        'Hosts that are in memory.',
        () => one('holdover_hosts_in_memory', this.#mappings.size),
      ],
      [
        'holdover_mappings',
        'gauge',
        'Mappings of the hosts in memory.',
        () =>
          one(
            'holdover_mappings',
            this.#mappings.values().reduce((sum, count) => sum + count, 0),
          ),
      ],
      [
        'holdover_lane_load_ratio',
        'gauge',
        'The part of the last seconds in which the thread of a lane worked.',
        () => this.#ofThreads('load', 'holdover_lane_load_ratio'),
      ],
      [
        'holdover_lane_heap_bytes',
        'gauge',
        'The heap of the thread of a lane.',
        () => this.#ofThreads('heap', 'holdover_lane_heap_bytes'),
      ],
    ];
  }
}

type Family = readonly [
  name: string,
  type: 'counter' | 'gauge' | 'histogram',
  help: string,
  values: () => Iterable<Value>,
];

/** The labels of each route, and where its cells begin. */
function* labelled(operations: readonly Operation[]): Generator<[{ operation: string }, number]> {
  for (const [index, { operationId }] of operations.entries()) yield [{ operation: operationId }, index * OF_ROUTE];
  yield [{ operation: 'none' }, (ROUTES - 1) * OF_ROUTE];
}

/** Counts all requests, and serves /metrics. What makes the text is loaded when it is first asked for. */
export function addMetrics(app: FastifyInstance, metrics: Metrics, operations: readonly Operation[]): void {
  if (operations.length >= ROUTES) throw new Error('bug: there are more routes than metrics have room for');
  app.addHook('onResponse', (request, reply, done) => {
    metrics.note(request.routeOptions.config.operation, reply.statusCode, reply.elapsedTime);
    done();
  });
  app.addHook('onClose', async () => metrics.close());
  let made: Promise<{ metrics(): Promise<string>; contentType: string }> | undefined;
  app.get('/metrics', async (_request, reply) => {
    made ??= import('prom-client').then(({ Registry, collectDefaultMetrics }) => {
      const register = new Registry();
      collectDefaultMetrics({ register });
      for (const [name, type, help, values] of metrics.families(operations))
        register.registerMetric({
          name,
          get: async () => ({ name, type, help, values: [...values()], aggregator: 'sum' }),
        } as unknown as Metric);
      return register;
    });
    const register = await made;
    return reply.type(register.contentType).send(await register.metrics());
  });
}
