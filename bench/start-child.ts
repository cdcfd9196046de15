/** Starts the service of the package in this process, with an empty store, and says how many milliseconds that took. */
const [packed] = process.argv.slice(2);
const begun = performance.now();
const { startHoldover } = (await import(packed!)) as typeof import('../src/index.ts');
const holdover = await startHoldover();
process.stdout.write(`${performance.now() - begun}\n`);
await holdover.close();
