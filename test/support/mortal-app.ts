/** The service as a process of its own, which dies and is started again while its clients stay. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { TestApp } from './app.ts';
import { ADMIN_KEY } from './keys.ts';
import { type Service, startService, temporaryDirectory } from './service.ts';

export class MortalApp extends TestApp {
  readonly directory: string;
  readonly #t: TestContext;
  #service: Service | undefined;

  constructor(t: TestContext) {
    super();
    this.#t = t;
    this.directory = temporaryDirectory(t);
  }

  get service(): Service {
    assert.ok(this.#service !== undefined);
    return this.#service;
  }

  override get url(): string {
    return this.service.url;
  }

  override async start(env: Record<string, string> = {}): Promise<void> {
    this.#service = await startService(this.#t, this.directory, {
      env: { HOLDOVER_DEV_KEY: this.key, HOLDOVER_ADMIN_KEY: ADMIN_KEY, HOLDOVER_CHECK: '1', ...env },
    });
  }
}
