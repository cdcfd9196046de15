/**
 * The thread of an attacker: it shares cores with the service that it attacks, which attackers elsewhere do not, so it
 * gives way to it.
 */
import { setPriority } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Attacker } from './attacker.ts';
import { ATTACKS } from './attacks/index.ts';
import { Refused } from './prey.ts';

export interface AttackerData {
  name: string;
  url: string;
  key: string;
  scale: number;
}

export type ToAttacker = 'go' | 'stop';
/** `ready`: all is prepared; `round`: one is done, or has failed so early that it is over. */
export type FromAttacker = { is: 'ready' } | { is: 'over'; deeds: Attacker['deeds'] };

const GIVING_WAY = 10;

setPriority(0, GIVING_WAY);
const port = parentPort!;
const data = workerData as AttackerData;
const attack = ATTACKS.find(({ name }) => name === data.name)!;
const attacker = new Attacker(data);

const told = Promise.withResolvers<void>();
port.on('message', (message: ToAttacker) => {
  if (message === 'stop') {
    attacker.going = false;
    over();
  }
  told.resolve();
});

function over(): void {
  attacker.going = false;
  attacker.close();
  port.postMessage({ is: 'over', deeds: attacker.deeds } satisfies FromAttacker);
  port.close();
}

try {
  const round = await attack.begin(attacker);
  port.postMessage({ is: 'ready' } satisfies FromAttacker);
  await told.promise;
  while (attacker.going) {
    await round().catch((error) => {
      if (!(error instanceof Refused)) throw error;
      attacker.deeds.refused = error.message;
    });
    // A round that is refused at once gives messages their turn.
    await setImmediate();
  }
} catch (error) {
  // What is asked of a service that stops may fail, and so may an attack that has been told to stop.
  if (attacker.going) {
    if (error instanceof Refused) attacker.deeds.refused = error.message;
    else attacker.deeds.failed = String(error);
    over();
  }
}
