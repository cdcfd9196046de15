/** Hosts that are asked for anything in any order: nothing in them disagrees with the rest, after each command. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findings, sentenceOf } from '../../../src/host/invariants/walk.ts';
import { Random } from '../../crash/random.ts';
import { Wild } from './wild.ts';

const HOSTS = 100;
const COMMANDS = 400;

test(`${HOSTS} hosts after each of ${COMMANDS} commands`, () => {
  for (let seed = 0; seed < HOSTS; seed++) {
    const wild = new Wild(new Random('wild', seed));
    for (let step = 0; step < COMMANDS; step++) {
      const command = wild.step();
      const found = [...findings(wild.host)].filter((finding) => finding !== null).map(sentenceOf);
      assert.deepEqual(found, [], `seed ${seed}, command ${step}: ${JSON.stringify(command)}`);
    }
  }
});
