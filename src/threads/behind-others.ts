/** How a thread begins that stands behind others: what loading its program takes they do not feel either. */
import { workerData } from 'node:worker_threads';
import { workBehindOthers } from './priority.ts';

workBehindOthers();
await import((workerData as { program: string }).program);
