/** The thread that looks at a large database while the service serves. */
import { parentPort, workerData } from 'node:worker_threads';
import { carryShield, type Shield } from '../../threads/shield.ts';
import { inspect } from './inspection.ts';

export interface InspectionSettings {
  directory: string;
  shield: Shield;
}

const { directory, shield } = workerData as InspectionSettings;
carryShield(shield);
await inspect(directory, (damage) => parentPort?.postMessage(damage));
