/** What people reported and pasted, answered as Linux would. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { readCases, runCase } from './case.ts';
import { Client } from './client.ts';

const app = useApp();

for (const each of readCases())
  test(`${each.name}: ${each.title}`, async () => {
    assert.deepEqual(await runCase(each, new Client(app)), []);
  });
