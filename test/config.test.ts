import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { getHeapStatistics } from 'node:v8';
import { ConfigError, readConfig } from '../src/config.ts';
import { DEFAULTS } from '../src/quotas.ts';
import { temporaryDirectory } from './support/service.ts';

/** `all`: what all hosts may take, in MiB. */
/** In MiB. */
const USUAL_MEMORY = Math.min(512, Math.floor(getHeapStatistics().heap_size_limit / 2 ** 21));

const memoryOf = (all: number) => {
  const memory = Math.max(all, 256);
  return { memory, hostMemory: Math.floor(memory / 2) };
};

const COLLECTOR = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' };

test('without any variable everything has its default', () => {
  assert.deepEqual(readConfig([], { PATH: '/bin', HOLDOVER_ADMIN_KEY: '' }), {
    dev: false,
    host: '127.0.0.1',
    port: 8080,
    dataDir: './data',
    adminKey: null,
    devKey: 'dev-key',
    tenants: [],
    durability: 'process',
    logLevel: 'info',
    bodyLimit: 4 * 1024 * 1024,
    batchLimit: 256 * 1024 * 1024,
    tenantBodies: 512 * 1024 * 1024,
    allBodies: 1024 * 1024 * 1024,
    bodyIdle: 30_000,
    bodyTimeout: 300_000,
    lanes: Math.min(Math.max(availableParallelism() - 1, 1), 4),
    commandTime: 10_000,
    hostMemory: USUAL_MEMORY * 2 ** 20,
    quotas: { ...DEFAULTS, ...memoryOf(USUAL_MEMORY) },
    fileKey: null,
    corsOrigins: null,
    readyFile: null,
    seedDir: null,
    traces: null,
    allowServiceDeath: false,
    check: false,
    warnings: [],
  });
});

test('every variable is read', (t) => {
  const file = join(temporaryDirectory(t), 'tenants');
  writeFileSync(file, 'c:k3\nd:k4,e:k5\n\n');
  const config = readConfig([], {
    HOLDOVER_HOST: '0.0.0.0',
    HOLDOVER_PORT: '0',
    HOLDOVER_DATA_DIR: '/data',
    HOLDOVER_ADMIN_KEY: 'admin',
    HOLDOVER_TENANTS: 'a:k1, b:k2/+=,',
    HOLDOVER_TENANTS_FILE: file,
    HOLDOVER_DEV_KEY: 'mine',
    HOLDOVER_DURABILITY: 'power',
    HOLDOVER_LOG_LEVEL: 'warn',
    HOLDOVER_BODY_LIMIT: '1024',
    HOLDOVER_BATCH_LIMIT: '4096',
    HOLDOVER_TENANT_BODIES: '8',
    HOLDOVER_ALL_BODIES: '16',
    HOLDOVER_BODY_IDLE: '5',
    HOLDOVER_BODY_TIMEOUT: '60',
    HOLDOVER_LANES: '3',
    HOLDOVER_COMMAND_SECONDS: '7',
    HOLDOVER_HOST_MEMORY: '200',
    HOLDOVER_QUOTAS: 'hosts=7, memory=300,requests=unlimited',
    HOLDOVER_FILE_KEY: 'of-files',
    HOLDOVER_CORS_ORIGINS: 'https://lab.example, http://localhost:3000',
    HOLDOVER_READY_FILE: '/run/ready.json',
    HOLDOVER_SEED_DIR: '/seeds',
    HOLDOVER_ALLOW_SERVICE_DEATH: '1',
    HOLDOVER_CHECK: '1',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318',
    OTEL_TRACES_SAMPLER: 'traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0.25',
  });
  assert.deepEqual(config, {
    dev: false,
    host: '0.0.0.0',
    port: 0,
    dataDir: '/data',
    adminKey: 'admin',
    devKey: 'mine',
    tenants: [
      { name: 'a', key: 'k1' },
      { name: 'b', key: 'k2/+=' },
      { name: 'c', key: 'k3' },
      { name: 'd', key: 'k4' },
      { name: 'e', key: 'k5' },
    ],
    durability: 'power',
    logLevel: 'warn',
    bodyLimit: 1024,
    batchLimit: 4096,
    tenantBodies: 8 * 1024 * 1024,
    allBodies: 16 * 1024 * 1024,
    bodyIdle: 5000,
    bodyTimeout: 60_000,
    lanes: 3,
    commandTime: 7000,
    hostMemory: 200 * 1024 * 1024,
    quotas: { ...DEFAULTS, hosts: 7, memory: 300, hostMemory: 150, requests: Number.POSITIVE_INFINITY },
    fileKey: 'of-files',
    corsOrigins: ['https://lab.example', 'http://localhost:3000'],
    readyFile: '/run/ready.json',
    seedDir: '/seeds',
    traces: { sampler: 'traceidratio', ratio: 0.25 },
    allowServiceDeath: true,
    check: true,
    warnings: [],
  });
});

test('a variable that there is not is warned of with the nearest, and those of clients and of compose are not', () => {
  const { warnings, port } = readConfig([], {
    HOLDOVER_PROT: '1',
    holdover_lanes: '2',
    HOLDOVER_COLOUR: 'blue',
    HOLDOVER_NOTHING: '',
    HOLDOVER_URL: 'http://127.0.0.1:8080',
    HOLDOVER_KEY: 'dev-key',
    HOLDOVER_PUBLISHED_PORT: '80',
    HOLD: '1',
  });
  assert.equal(port, 8080);
  assert.equal(warnings.length, 3);
  assert.match(warnings[0]!, /^HOLDOVER_PROT is not .*: did you mean HOLDOVER_PORT\?$/);
  assert.match(warnings[1]!, /^holdover_lanes is not .*: did you mean HOLDOVER_LANES\?$/);
  assert.match(warnings[2]!, /^HOLDOVER_COLOUR is not .*: there are HOLDOVER_HOST, HOLDOVER_PORT, /);
  assert.doesNotMatch(warnings[2]!, /blue/);
});

test('development mode brings its tenant, and serves loopback only', () => {
  const config = readConfig(['--dev'], { HOLDOVER_TENANTS: 'a:k1' });
  assert.equal(config.dev, true);
  assert.deepEqual(config.tenants, [
    { name: 'dev', key: 'dev-key' },
    { name: 'a', key: 'k1' },
  ]);
  for (const host of ['localhost', '::1', '127.0.0.2']) readConfig(['--dev'], { HOLDOVER_HOST: host });
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example.org']) {
    assert.throws(() => readConfig(['--dev'], { HOLDOVER_HOST: host }), {
      name: 'ConfigError',
      message: /^HOLDOVER_HOST .*loopback only/,
    });
  }
});

test('a value that is not allowed is named in one sentence, without any key', (t) => {
  const file = join(temporaryDirectory(t), 'tenants');
  writeFileSync(file, 'a:secret\nsecret');
  const cases: [Record<string, string>, RegExp][] = [
    [{ HOLDOVER_PORT: 'http' }, /^HOLDOVER_PORT must be a whole number from 0 to 65535\.$/],
    [{ HOLDOVER_PORT: '65536' }, /^HOLDOVER_PORT must be a whole number from 0 to 65535\.$/],
    [{ HOLDOVER_BODY_LIMIT: '1' }, /^HOLDOVER_BODY_LIMIT must be a whole number from 1024 to 1073741824\.$/],
    [{ HOLDOVER_TENANT_BODIES: '3' }, /^HOLDOVER_TENANT_BODIES must be a whole number from 4 to 1048576\.$/],
    [{ HOLDOVER_BODY_IDLE: '0' }, /^HOLDOVER_BODY_IDLE must be a whole number from 1 to 3600\.$/],
    [{ HOLDOVER_TENANT_BODIES: '2048' }, /^HOLDOVER_TENANT_BODIES must be at most HOLDOVER_ALL_BODIES/],
    [
      { HOLDOVER_TENANT_BODIES: '100' },
      /^HOLDOVER_BATCH_LIMIT is 268435456 bytes, but there are 100 MiB .*: raise HOLDOVER_TENANT_BODIES\.$/,
    ],
    [{ HOLDOVER_HOST_MEMORY: '1 GiB' }, /^HOLDOVER_HOST_MEMORY must be a whole number from 0 to 16777216\.$/],
    [{ HOLDOVER_LANES: '65' }, /^HOLDOVER_LANES must be a whole number from 1 to 64\.$/],
    [{ HOLDOVER_DURABILITY: 'disk' }, /^HOLDOVER_DURABILITY must be process or power\.$/],
    [{ HOLDOVER_LOG_LEVEL: 'loud' }, /^HOLDOVER_LOG_LEVEL must be one of fatal, error, /],
    [{ HOLDOVER_ALLOW_SERVICE_DEATH: 'yes' }, /^HOLDOVER_ALLOW_SERVICE_DEATH must be 0 or 1\.$/],
    [{ HOLDOVER_CHECK: 'on' }, /^HOLDOVER_CHECK must be 0 or 1\.$/],
    [{ HOLDOVER_CORS_ORIGINS: 'lab.example' }, /^HOLDOVER_CORS_ORIGINS must hold origins .*; lab\.example is none\.$/],
    [{ HOLDOVER_CORS_ORIGINS: '*, https://lab.example/' }, /^HOLDOVER_CORS_ORIGINS must hold origins /],
    [{ HOLDOVER_ADMIN_KEY: 'my secret' }, /^HOLDOVER_ADMIN_KEY must consist of A-Z /],
    [{ HOLDOVER_TENANTS: 'a:k1,secret' }, /^HOLDOVER_TENANTS must hold name:key pairs .*number 2 is not one\.$/],
    [{ HOLDOVER_TENANTS: 'a b:secret' }, /^HOLDOVER_TENANTS must hold name:key pairs/],
    [{ HOLDOVER_TENANTS: 'a:b:secret' }, /^HOLDOVER_TENANTS must hold name:key pairs/],
    [{ HOLDOVER_TENANTS: 'a:' }, /^HOLDOVER_TENANTS must hold name:key pairs/],
    [{ HOLDOVER_TENANTS: 'a:secret,a:k2' }, /^HOLDOVER_TENANTS names the tenant a twice/],
    [{ HOLDOVER_TENANTS: 'a:secret,b:secret' }, /^HOLDOVER_TENANTS gives b a key that is also another tenant's/],
    [{ HOLDOVER_TENANTS: 'a:secret', HOLDOVER_ADMIN_KEY: 'secret' }, /or HOLDOVER_ADMIN_KEY\.$/],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: '127.0.0.1:4318' }, /^OTEL_EXPORTER_OTLP_ENDPOINT must be the URL of a collector/],
    [
      { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'grpc://lab', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://lab' },
      /^OTEL_EXPORTER_OTLP_TRACES_ENDPOINT must be the URL/,
    ],
    [{ ...COLLECTOR, OTEL_TRACES_SAMPLER: 'some' }, /^OTEL_TRACES_SAMPLER must be one of always_on, always_off, /],
    [
      { ...COLLECTOR, OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '2' },
      /^OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1\.$/,
    ],
    [{ HOLDOVER_TENANTS_FILE: file }, /^HOLDOVER_TENANTS_FILE must hold name:key pairs .*number 2 is not one\.$/],
    [{ HOLDOVER_TENANTS_FILE: `${file}.gone` }, /^HOLDOVER_TENANTS_FILE must name a file that can be read; .*ENOENT/],
  ];
  for (const [variables, message] of cases) {
    assert.throws(
      () => readConfig([], variables),
      (error) => {
        assert.ok(error instanceof ConfigError);
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      },
    );
  }
  assert.throws(() => readConfig(['--help'], {}), /^ConfigError: Unknown argument --help/);
});

test('spans are sent where there is a collector and they are not switched off, and another protocol is warned of', () => {
  assert.deepEqual(readConfig([], COLLECTOR).traces, { sampler: 'parentbased_always_on', ratio: 1 });
  const off = [{ OTEL_SDK_DISABLED: 'TRUE' }, { OTEL_TRACES_EXPORTER: 'none' }, { OTEL_EXPORTER_OTLP_ENDPOINT: '' }];
  for (const more of off) assert.equal(readConfig([], { ...COLLECTOR, ...more }).traces, null);
  // What is wrong for spans matters to nobody who has none.
  assert.equal(readConfig([], { OTEL_TRACES_SAMPLER: 'some', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }).traces, null);
  assert.deepEqual(readConfig([], { ...COLLECTOR, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }).warnings, [
    'OTEL_EXPORTER_OTLP_PROTOCOL is grpc, but spans are sent as http/json',
  ]);
});

test('quotas are read, and what is wrong with them is said', () => {
  const read = (given: string, args: string[] = []) => readConfig(args, { HOLDOVER_QUOTAS: given }).quotas;
  const { hosts, memory, hostMemory } = read('memory=unlimited , hosts=0,');
  assert.deepEqual([hosts, memory], [0, Number.POSITIVE_INFINITY]);
  assert.ok(Number.isFinite(hostMemory));
  assert.equal(read('', ['--dev']).requests, Number.POSITIVE_INFINITY);
  assert.equal(read('requests=3', ['--dev']).requests, 3);
  const wrong = (given: string, message: RegExp): void => assert.throws(() => read(given), { message });
  wrong('host=3', /^HOLDOVER_QUOTAS must hold name=limit pairs; host is no quota: did you mean hosts\?\.$/);
  wrong('12', /12 is no quota: there are hosts, functions/);
  wrong('hosts=1,hosts=2', /^HOLDOVER_QUOTAS names the quota hosts twice\.$/);
  wrong('hosts=-1', /must give hosts a whole number from 0 to 1099511627776, or unlimited, not "-1"\.$/);
  wrong('hosts=many', /not "many"\.$/);
  wrong('hosts', /not ""\.$/);
});
