/** Starts the service's own parts in this process, with an empty store, and says how many milliseconds that took. */
import { enableCompileCache } from 'node:module';

enableCompileCache();
const [directory] = process.argv.slice(2);
const begun = performance.now();
const [{ readConfig }, { buildApp }, { openStore }, { Lane }, { makeHost, restoreHost }, { killProcess }] =
  await Promise.all([
    import('../src/config.ts'),
    import('../src/http/app.ts'),
    import('../src/store/sqlite/store.ts'),
    import('../src/lanes/lane.ts'),
    import('../src/lanes/engine.ts'),
    import('../src/lanes/service-death.ts'),
  ]);
const config = readConfig([], { HOLDOVER_DATA_DIR: directory!, HOLDOVER_TENANTS: 'bench:key-of-the-benchmarks' });
const store = openStore({ directory: config.dataDir, durability: config.durability });
const log = { info() {}, warn() {}, error() {} };
const lanes = new Lane({ store, log, allowServiceDeath: false, makeHost, restoreHost, die: killProcess });
const app = await buildApp({ config, directory: store, lanes });
process.stdout.write(`${performance.now() - begun}\n`);
await app.close();
await lanes.close();
await store.close();
