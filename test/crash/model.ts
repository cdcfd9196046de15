/**
 * A second service, which is never killed. What has happened on a host is asked for there once more, one thing after the
 * other; then both hosts must have answered the same, and be the same.
 */
import assert from 'node:assert/strict';
import type { FastifyInstance } from 'fastify';
import { readConfig } from '../../src/config.ts';
import type { Answer as HostAnswer } from '../../src/host/command.ts';
import { buildApp } from '../../src/http/app.ts';
import type { RunningLanes } from '../../src/lanes/lanes.ts';
import { openStore } from '../../src/store/sqlite/store.ts';
import type { Store, StoredCommand } from '../../src/store/store.ts';
import { seedTenants } from '../../src/tenants.ts';
import { createLanes } from '../support/lanes.ts';
import { endOf } from './batches.ts';
import { type Found, saidBy } from './journal.ts';
import type { Answer, Operation, Request } from './operations.ts';
import { assertSame, type Look } from './state.ts';
import { KEY } from './wire.ts';

export class Model {
  readonly #app: FastifyInstance;
  readonly #store: Store;
  readonly lanes: RunningLanes;

  private constructor(app: FastifyInstance, store: Store, lanes: RunningLanes) {
    this.#app = app;
    this.#store = store;
    this.lanes = lanes;
  }

  static async start(directory: string): Promise<Model> {
    const config = readConfig([], { HOLDOVER_DATA_DIR: directory, HOLDOVER_TENANTS: `crash:${KEY}` });
    const store = openStore({ directory });
    const lanes = createLanes({ store });
    await seedTenants(store.tenants, config, { info() {}, warn() {}, error() {} });
    return new Model(await buildApp({ config, directory: store, lanes, checkAnswers: true }), store, lanes);
  }

  async host(body: object): Promise<ModelHost> {
    const { body: created } = await this.ask({ method: 'POST', path: '/v1/hosts', body });
    return new ModelHost(this, (created as { id: string }).id);
  }

  async ask({ method, path, body }: Request): Promise<Answer> {
    const response = await this.#app.inject({
      method,
      url: path,
      headers: { authorization: `Bearer ${KEY}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { payload: JSON.stringify(body) }),
    });
    return { status: response.statusCode, body: response.body === '' ? null : response.json() };
  }

  journal(hostId: string, after: number): Promise<StoredCommand[]> {
    return readAll((from) => this.#store.journal.read(hostId, from), after);
  }

  async stop(): Promise<void> {
    await this.#app.close();
    await this.lanes.close();
    await this.#store.close();
  }
}

/** A journal to its end: one read gives a part of it. */
export async function readAll(
  read: (after: number) => Promise<StoredCommand[]>,
  after: number,
): Promise<StoredCommand[]> {
  const rows: StoredCommand[] = [];
  for (;;) {
    const more = await read(rows.at(-1)?.sequence ?? after);
    if (more.length === 0) return rows;
    rows.push(...more);
  }
}

export class ModelHost {
  readonly id: string;
  readonly #model: Model;
  #sequence = 0;
  /** What the lines that are being repeated have come to. */
  #progress = new Map<Operation, number>();

  constructor(model: Model, id: string) {
    this.#model = model;
    this.id = id;
  }

  readonly look: Look = async <Value>(path: string): Promise<Value> => {
    const { status, body } = await this.#ask({ method: 'GET', path });
    assert.equal(status, 200, `GET ${path}`);
    return body as Value;
  };

  /** Throws where the model answers otherwise, or has another journal afterwards. */
  async repeat(found: readonly Found[]): Promise<void> {
    for (let index = 0; index < found.length; index += 1) {
      const one = found[index]!;
      if (one.operation.kind === 'lines') await this.#repeatLines(one);
      else if (one.operation.kind === 'kexec.freeze') index += await this.#repeatKexec(found, index);
      else this.#compare(one.operation, await this.#ask(one.operation.request));
    }
    const rows = await this.#model.journal(this.id, this.#sequence);
    for (const [index, { row }] of found.entries()) {
      assertSame(essence(row), essence(rows[index]), 'the journals of both hosts');
    }
    assert.equal(rows.length, found.length, 'the journals of both hosts are equally long');
    this.#sequence = rows.at(-1)?.sequence ?? this.#sequence;
    for (const [operation, acknowledged] of this.#progress) checkProgress(operation, acknowledged);
    this.#progress = new Map();
  }

  async delete(): Promise<void> {
    await this.#model.ask({ method: 'DELETE', path: `/v1/hosts/${this.id}` });
  }

  /** DMA between freeze and boot is asked for while the kexec runs. Answers how many commands more than one these are. */
  async #repeatKexec(found: readonly Found[], at: number): Promise<number> {
    const boot = found.findIndex(({ command }, index) => index > at && command.op !== 'device.dma');
    const during = boot > 0 && found[boot]!.command.op === 'kexec.boot' ? found.slice(at + 1, boot) : [];
    const asked = [found[at]!, ...during].map(async ({ operation }) => ({
      operation,
      answer: await this.#ask(operation.request),
    }));
    for (const { operation, answer } of await Promise.all(asked)) this.#compare(operation, answer);
    const booted = boot > 0 && found[boot]!.command.op === 'kexec.boot';
    return during.length + (booted ? 1 : 0);
  }

  /** A piece has to be what it was. */
  async #repeatLines({ operation, command, base, lines }: Found): Promise<void> {
    if (command.op !== 'batch') throw new Error('lines that are no batch');
    const all = operation.request
      .lines!.join('')
      .split('\n')
      .slice(base, base + lines);
    const { pid, fd, ioas, onError } = command;
    const answer = await this.#model.lanes.batch(
      this.id,
      { op: 'batch', pid, fd, ioas, format: 'lines', onError: onError!, results: false, base },
      new TextEncoder().encode(all.join('\n')),
    );
    const { applied, failed } = grantedValue<{ applied: number; failed: number }>(answer);
    this.#progress.set(operation, base + applied + failed);
  }

  #compare(operation: Operation, answer: Answer): void {
    if (operation.outcome === 'answered') {
      const what = `the answers to ${JSON.stringify(operation.request).slice(0, 2000)}`;
      assertSame(saidBy(operation.answer!), saidBy(answer), what);
    } else operation.learn?.(answer);
  }

  #ask(request: Request): Promise<Answer> {
    return this.#model.ask({ ...request, path: `/v1/hosts/${this.id}${request.path}` });
  }
}

function checkProgress(operation: Operation, acknowledged: number): void {
  assert.ok(operation.acknowledged <= acknowledged, 'lines are acknowledged that have not happened');
  if (operation.outcome !== 'answered') return;
  const end = endOf(operation.answer!);
  assert.deepEqual([end.acknowledged, end.done], [acknowledged, true]);
}

/** What has to be the same in both journals; what comes beside the commands must be so if the answers are. */
function essence(row: StoredCommand | undefined): unknown {
  return row && { sequence: row.sequence, command: row.command, digest: row.digest };
}

function grantedValue<Value>(answer: HostAnswer): Value {
  assert.equal(answer.kind, 'ok', JSON.stringify(answer));
  return (answer as { value: Value }).value;
}
