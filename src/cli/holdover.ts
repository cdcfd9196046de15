#!/usr/bin/env node
/** `holdover`, for any Node from 20 on. */
import { runProgram } from './program.ts';

// Who reads the output may have had enough of it, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});
await runProgram(process.argv.slice(2));
