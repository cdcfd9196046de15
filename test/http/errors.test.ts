/** Bad input, and faults of ours: each a clear problem, and nothing changes. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import request from 'supertest';
import { PROBLEMS } from '../../src/http/problems.ts';
import { HostFault } from '../../src/lanes/errors.ts';
import { StoreUnavailable } from '../../src/store/store.ts';
import { BODY_LIMIT, fixture, HOST, KEY, type ProblemBody, pointers } from './fixture.ts';

const CLOCK = `/v1/hosts/${HOST}/clock`;

test('every answer in JSON ends its line', async (t) => {
  const { ask, lanes, app } = await fixture(t);
  lanes.onQuery = () => ({ kind: 'ok', value: { host: 'ü' } });
  const batch = `/v1/hosts/${HOST}/processes/1/iommufds/3/ioases/2/batch`;
  const answers = [
    await ask('get', '/livez'),
    await ask('get', '/openapi.json'),
    await ask('get', '/docs/json'),
    await ask('get', `/v1/hosts/${HOST}`),
    await ask('post', '/v1/hosts', { preset: 'vmm-lab' }),
    await ask('post', batch, { operations: [] }),
    await ask('post', CLOCK, '{').type('json'),
    await ask('post', CLOCK, { advance: -1 }),
    await ask('get', '/v1/hosts', undefined, null),
    await ask('get', '/nothing'),
    await ask('put', '/v1/hosts', {}),
    await ask('get', '/v1/hosts/%zz'),
    await ask('get', '/docs/static/nothing'),
    await request(app.server).post(CLOCK).auth(KEY, { type: 'bearer' }).type('text').send('x'),
  ];
  for (const { status, text, headers } of answers) {
    assert.match(text, /^\{[^\n]*\}\n$/, `${status} ${text}`);
    assert.equal(Number(headers['content-length']), Buffer.byteLength(text));
  }
  assert.equal((await ask('post', `/v1/hosts/${HOST}/crash`)).text, '{}\n');
});

test('malformed JSON is 400 and says what the parser said', async (t) => {
  const { ask, lanes } = await fixture(t);
  const { status, body, headers } = await ask('post', CLOCK, '{"advance": secret}').type('json');
  assert.equal(status, 400);
  assert.equal(headers['content-type'], 'application/problem+json');
  assert.equal(body.type, '/problems/malformed-body');
  assert.match(body.detail, /Unexpected token 's'/);
  const cut = await ask('post', CLOCK, '{"advance": ').type('json');
  assert.equal(cut.status, 400);
  const poisoned = await ask('post', CLOCK, '{"__proto__": {"advance": 1}}').type('json');
  assert.equal(poisoned.status, 400);
  assert.deepEqual(lanes.commands, []);
});

test('an unknown field is named, with those that are allowed', async (t) => {
  const { ask, lanes } = await fixture(t);
  const { status, body } = await ask('post', CLOCK, { advance: 1, speed: 2 });
  assert.equal(status, 400);
  assert.equal(body.type, '/problems/invalid-request');
  assert.deepEqual(body.errors, [{ in: 'body', pointer: '/speed', reason: 'unknown field; allowed here: advance' }]);
  assert.match(body.detail, /\/speed/);
  assert.deepEqual(lanes.commands, []);
});

test('what is near to a name that there is, is taken for a slip', async (t) => {
  const { ask, lanes } = await fixture(t);
  const H = `/v1/hosts/${HOST}`;
  const calls = `${H}/processes/1/calls`;
  const cases: [string, unknown, string, string][] = [
    ['/v1/hosts', { prest: 'vmm-lab' }, '/prest', 'unknown field; did you mean `preset`? allowed here: name, '],
    ['/v1/hosts', { preset: 'vm-lab' }, '/preset', '; did you mean `vmm-lab`?'],
    [CLOCK, { 'advance/': 1 }, '/advance~1', 'unknown field; did you mean `advance`? allowed here: advance'],
    [CLOCK, { ['advance'.repeat(5000)]: 1 }, `/${'advance'.repeat(5000)}`, 'unknown field; allowed here: advance'],
    [`${H}/kexec`, { mode: 'live-updat' }, '/mode', '; did you mean `live-update`?'],
    [`${H}/faults`, { point: 'memfd.frieze' }, '/point', '; did you mean `memfd.freeze`?'],
    [calls, { calls: [{ call: 'opn', path: '/' }] }, '/calls/0/call', '; did you mean `open`?'],
    [calls, { calls: [{ call: 'close', df: 3 }] }, '/calls/0/df', 'did you mean `fd`? allowed here: call, fd'],
    [
      calls,
      { calls: [{ call: 'ioctl', fd: 3, request: 'IOMMU_IOAS_ALOC' }] },
      '/calls/0/request',
      '; did you mean `IOMMU_IOAS_ALLOC`?',
    ],
    [
      calls,
      { calls: [{ call: 'ioctl', fd: 3, request: 'IOMMU_IOAS_UNMAP', arg: { ioas: 2 } }] },
      '/calls/0/arg/ioas',
      'unknown field; allowed here: ioas_id, ',
    ],
  ];
  for (const [path, body, pointer, reason] of cases) {
    const { status, body: problem } = await ask('post', path, body as object);
    assert.equal(status, 400);
    const found = (problem as ProblemBody).errors!.find((error) => error.pointer === pointer);
    assert.ok(found?.reason.includes(reason), `${JSON.stringify(body).slice(0, 200)}: ${JSON.stringify(problem)}`);
  }
  assert.deepEqual(lanes.commands, []);
});

test('of a name that is empty it is said how long it has to be', async (t) => {
  const { ask, lanes } = await fixture(t);
  const cases: ['post' | 'put', string, object][] = [
    ['post', '/v1/hosts', { preset: 'vmm-lab', name: '' }],
    ['put', `/v1/hosts/${HOST}/devices/0000:01:00.0/driver`, { driver: '' }],
  ];
  for (const [method, path, body] of cases) {
    const { status, body: problem } = await ask(method, path, body);
    assert.equal(status, 400);
    assert.equal((problem as ProblemBody).errors![0]!.reason, 'expected a string of 1 to 64 characters');
  }
  assert.deepEqual(lanes.commands, []);
});

test('of a number that cannot be taken it is said how to write it', async (t) => {
  const { ask, lanes } = await fixture(t);
  const cases: [unknown, string][] = [
    [2 ** 53, 'write numbers above 9007199254740991 as a hexadecimal string, such as "0x20000000000000"'],
    [1.8446744073709552e19, 'write numbers above 9007199254740991 as a hexadecimal string'],
    [-4096, 'this is below 0'],
    [1.5, 'this is not a whole number'],
    ['4096', 'this number is "0x1000"'],
    ['18446744073709551615', 'this number is "0xffffffffffffffff"'],
    ['7f0000000000', 'hexadecimal begins with 0x'],
    ['0x10000000000000000', 'this has more than 64 bits'],
  ];
  for (const [size, hint] of cases)
    for (const [path, body] of [
      ['memfds', { size }],
      ['calls', { calls: [{ call: 'ftruncate', fd: 3, length: size }] }],
    ] as const) {
      const { body: problem } = await ask('post', `/v1/hosts/${HOST}/processes/1/${path}`, body);
      const reason = (problem as Required<ProblemBody>).errors[0]!.reason;
      assert.ok(reason.endsWith(`; ${hint}`) || reason.includes(`; ${hint},`), `${size}: ${reason}`);
    }
  assert.deepEqual(lanes.commands, []);
});

test('missing fields, wrong types and values out of range are named, with what is allowed', async (t) => {
  const { ask, lanes } = await fixture(t);
  const H = `/v1/hosts/${HOST}`;
  const cases: [string, string, unknown, string, RegExp][] = [
    ['post', CLOCK, {}, '/advance', /^required: nanoseconds/],
    ['post', CLOCK, { advance: -1 }, '/advance', /decimal string/],
    ['post', CLOCK, [], '', /^expected a JSON object/],
    ['post', CLOCK, undefined, '', /^required: a JSON object/],
    ['post', `${H}/kexec`, { mode: 'warm' }, '/mode', /^expected one of live-update, plain/],
    ['post', `${H}/kexec`, { mode: 'plain', kernel: { boot: { kho: 1 } } }, '/kernel/boot/kho', /true or false/],
    ['post', `${H}/faults`, { point: 'memfd.freeze', nth: 0 }, '/nth', /a whole number from 1 to 2147483647/],
    ['post', `${H}/faults`, { point: 'nowhere' }, '/point', /memfd\.freeze/],
    ['post', `${H}/faults`, { point: 'allocation', errno: 'EWHAT' }, '/errno', /ENOMEM/],
    ['put', `${H}/devices/0000:01:00.0/driver`, { driver: 7 }, '/driver', /1 to 64 characters/],
    ['post', `${H}/processes`, { capabilities: ['CAP_WIZARD'] }, '/capabilities/0', /CAP_SYS_BOOT/],
    ['post', `${H}/processes/1/memfds`, { size: '0x10000000000000000' }, '/size', /at most 64 bits/],
    ['post', `${H}/processes/1/memfds`, { size: 2 ** 53 }, '/size', /9007199254740991/],
    ['put', `${H}/processes/1/memory/0x1000`, { data: 'not base64' }, '/data', /base64/],
    ['post', '/v1/hosts', { memory: '16G' }, '/memory', /hexadecimal/],
    ['post', '/v1/hosts', { memory: 0x1001001 }, '/memory', /multiple of 4096/],
    ['post', '/v1/hosts', { preset: 'vax' }, '/preset', /vmm-lab/],
    ['post', '/v1/hosts', { devices: [{ bdf: '01:00' }] }, '/devices/0/bdf', /dddd:bb:dd\.f/],
    ['post', '/v1/hosts', { iommus: [{ kind: 'intel-vtd', pageSizes: [3] }] }, '/iommus/0/pageSizes/0', /power of two/],
    ['post', '/v1/hosts', { topology: { format: 'lspci-by-group', text: '?' } }, '/topology/text', /line 1/],
    ['post', `${H}/devices/0000:01:00.0/dma`, { accesses: [{ op: 'copy' }] }, '/accesses/0/op', /one of read, write/],
    [
      'post',
      `${H}/devices/0000:01:00.0/dma`,
      {
        accesses: [
          { op: 'write', iova: 0, length: 3, data: 'AAAA' },
          { op: 'write', iova: 0, length: 2, data: 'AAAA' },
        ],
      },
      '/accesses/1/data',
      /as many bytes as length says/,
    ],
  ];
  for (const [method, path, body, pointer, reason] of cases) {
    const answer = await ask(method as 'post' | 'put', path, body);
    const what = `${path} ${JSON.stringify(body)}: ${answer.text}`;
    assert.equal(answer.status, 400, what);
    assert.equal(answer.headers['content-type'], 'application/problem+json');
    assert.deepEqual(pointers(answer.body), [pointer], what);
    assert.match(answer.body.errors[0].reason, reason, what);
  }
  assert.deepEqual(lanes.commands, []);
});

test('parameters of the path and of the query are named like fields', async (t) => {
  const { ask } = await fixture(t);
  const H = `/v1/hosts/${HOST}`;
  const cases: [string, string, string, RegExp][] = [
    [`${H}/processes/init`, 'path', '/pid', /a whole number from 0 to 2147483647/],
    [`${H}/processes/4294967296`, 'path', '/pid', /a whole number/],
    [`${H}/devices/eth0`, 'path', '/bdf', /not a PCI address/],
    [`${H}/devices/0000:01:00.0/translation?iova=0x0`, 'query', '/length', /^required: a 64-bit number/],
    [`${H}/devices/0000:01:00.0/translation?iova=0x10000000000000000&length=1`, 'query', '/iova', /64-bit/],
    [`${H}/devices/0000:01:00.0/translation?iova=18446744073709551616&length=1`, 'query', '/iova', /64-bit/],
    [`${H}/devices/0000:01:00.0/translation?iova=0&length=0x400000001`, 'query', '/length', /16 GiB/],
    [`${H}/events?limit=0`, 'query', '/limit', /from 1 to 1000/],
    [`${H}/events?after=1&after=2`, 'query', '/after', /a whole number/],
    [`${H}/devices/0000:01:00.0?colour=red`, 'query', '/colour', /unknown field; nothing is allowed here/],
    ['/v1/hosts?after=nonsense', 'query', '/after', /nextPageToken/],
  ];
  for (const [path, part, pointer, reason] of cases) {
    const { status, body, text } = await ask('get', path);
    assert.equal(status, 400, `${path}: ${text}`);
    assert.deepEqual([body.errors[0].in, pointers(body)], [part, [pointer]], path);
    assert.match(body.errors[0].reason, reason);
  }
});

test('a path that is not there is 404, a wrong method 405 with those that are allowed', async (t) => {
  const { ask } = await fixture(t);
  for (const path of ['/', '/v1', '/v2/hosts', `/v1/hosts/${HOST}/nothing`, `/v1/hosts/${HOST}/`]) {
    const { status, body } = await ask('get', `${path}?x=1`);
    assert.equal(status, 404, path);
    assert.equal(body.type, '/problems/not-found');
    assert.ok(body.detail.startsWith(`There is no path ${path}.`), body.detail);
    assert.match(body.detail, /openapi\.json/);
  }
  const wrong = await ask('put', '/v1/hosts?x=1', {});
  assert.equal(wrong.status, 405);
  assert.equal(wrong.headers.allow, 'POST, GET, DELETE');
  assert.equal(wrong.body.type, '/problems/method-not-allowed');
  assert.equal((await ask('post', `/v1/hosts/${HOST}/devices/0000:01:00.0`, {})).headers.allow, 'GET, PATCH, DELETE');
});

test('the path that was meant is named', async (t) => {
  const { ask } = await fixture(t);
  const P = '/v1/hosts/{host}/processes/{pid}';
  const cases: [string, string | null][] = [
    ['/hosts', '/v1/hosts'],
    ['/v2/hosts', '/v1/hosts'],
    ['/v1/host', '/v1/hosts'],
    ['/v1/presets/', '/v1/presets'],
    ['/V1/HOSTS', '/v1/hosts'],
    ['/api/v1/hosts', '/v1/hosts'],
    ['/v1/hosts/h-1/process', '/v1/hosts/{host}/processes'],
    ['/v1/hosts/h-1/kexecs', '/v1/hosts/{host}/kexec'],
    ['/v1/hosts/h-1/processes/1/iommufd/3/', `${P}/iommufds/{fd}`],
    ['/v1/hosts/h-1/processes/1/iommufds/3/hwpt/4', `${P}/iommufds/{fd}/hwpts/{hwpt}`],
    ['/v1/hosts/h-1/hwpts/4', `${P}/iommufds/{fd}/hwpts/{hwpt}`],
    ['/v1/hosts/h-1/nothing', '/v1/hosts/{host}'],
    ['/v1/tenant', '/v1/tenants'],
    ['/admin/tenants', '/v1/admin/tenants'],
    ['/ready', '/readyz'],
    ['/openapi.yaml', '/openapi.json'],
    ['/doc', '/docs'],
    ['/', null],
    ['/something/else', null],
    [`/${'x/'.repeat(3000)}`, null],
  ];
  for (const [path, meant] of cases) {
    const { body } = await ask('get', path);
    const named = / The nearest is (\S+)\. /.exec(body.detail)?.[1] ?? null;
    assert.equal(named, meant, path);
    assert.ok(body.detail.length < 400, body.detail);
  }
});

test('whoever would delete a descriptor is told how it is closed', async (t) => {
  const { ask } = await fixture(t);
  const process = `/v1/hosts/${HOST}/processes/1`;
  for (const descriptor of [
    ...['iommufds/3', 'memfds/3', 'cdevs/3', 'sessions/3', 'vfio-groups/3', 'liveupdates/3'],
    'iommufds/4/accesses/3',
  ]) {
    const { status, body } = await ask('delete', `${process}/${descriptor}`);
    assert.equal(status, 405, descriptor);
    assert.match(body.detail, new RegExp(` A descriptor is closed by DELETE ${process}/descriptors/3\\.$`));
  }
  const { body } = await ask('delete', `${process}/memfds/3/size`);
  assert.equal(body.detail, 'This path has no DELETE: it has PUT.');
});

test('what is not JSON is 415, what is too large 413 with the limit', async (t) => {
  const { app, ask, lanes } = await fixture(t);
  for (const type of ['text/plain', 'application/xml', 'application/x-www-form-urlencoded']) {
    const { status, body } = await ask('post', CLOCK, 'advance=1').type(type);
    assert.equal(status, 415, type);
    assert.match(body.detail, /application\/json/);
  }
  const untyped = await request(app.server).post(CLOCK).auth(KEY, { type: 'bearer' }).unset('content-type').send();
  assert.equal(untyped.status, 400);
  const large = await ask('post', CLOCK, { advance: 1, padding: 'x'.repeat(BODY_LIMIT) });
  assert.equal(large.status, 413);
  assert.match(large.body.detail, new RegExp(String(BODY_LIMIT)));
  assert.deepEqual(lanes.commands, []);
});

test('URLs that cannot be read and names that are too long are problems, too', async (t) => {
  const { ask } = await fixture(t);
  assert.equal((await ask('get', '/v1/hosts/%zz')).body.type, '/problems/invalid-request');
  const long = await ask('get', `/v1/hosts/${'h'.repeat(200)}`);
  assert.equal(long.status, 414);
  assert.equal(long.headers['content-type'], 'application/problem+json');
});

test('what is not HTTP is answered as a problem, too', async (t) => {
  const { app } = await fixture(t);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as { port: number };
  const answers = await Promise.all(
    ['GARBAGE\r\n\r\n', `GET / HTTP/1.1\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`].map(
      (text) =>
        new Promise<string>((resolve, reject) => {
          let answer = '';
          const socket = connect(port, '127.0.0.1', () => socket.write(text));
          socket.on('data', (chunk) => {
            answer += chunk;
          });
          socket.on('end', () => resolve(answer));
          socket.on('error', reject);
        }),
    ),
  );
  assert.match(
    answers[0]!,
    /^HTTP\/1\.1 400 [\s\S]*application\/problem\+json[\s\S]*"type":"\/problems\/malformed-body".*\}\n$/,
  );
  assert.match(answers[1]!, /^HTTP\/1\.1 431 [\s\S]*"type":"\/problems\/headers-too-large"/);
});

test('a process that is dead is 404, and so is whatever the host does not have', async (t) => {
  const { ask, lanes } = await fixture(t);
  lanes.onCommand = () => ({ kind: 'not-found', what: 'process 9' });
  lanes.onQuery = () => ({ kind: 'not-found', what: 'process 9' });
  const calls = await ask('post', `/v1/hosts/${HOST}/processes/9/calls`, { calls: [] });
  assert.equal(calls.status, 404);
  assert.match(calls.body.detail, /process 9/);
  assert.equal((await ask('post', `/v1/hosts/${HOST}/processes/9/iommufds`)).status, 404);
  assert.equal((await ask('get', `/v1/hosts/${HOST}/processes/9`)).status, 404);
});

test('refusals of the kernel are 409 where the state is in the way, else 422, with errno, where and rule', async (t) => {
  const { ask, lanes } = await fixture(t);
  const cases = { EBUSY: 409, EEXIST: 409, EADDRINUSE: 409, ENOSPC: 409, ENOMEM: 409, EIO: 409 };
  const others = { EINVAL: 422, ENOENT: 422, EPERM: 422, ENOTTY: 422, EOPNOTSUPP: 422, EFAULT: 422 };
  for (const [errno, status] of Object.entries({ ...cases, ...others })) {
    lanes.onCommand = () => ({ kind: 'refused', errno, where: 'sys_reboot', why: 'try again', rule: 'R22' }) as never;
    const { status: answered, body, headers } = await ask('post', `/v1/hosts/${HOST}/kexec`, { mode: 'plain' });
    assert.equal(answered, status, errno);
    assert.equal(headers['content-type'], 'application/problem+json');
    assert.deepEqual([body.errno, body.where, body.rule, body.detail], [errno, 'sys_reboot', 'R22', 'try again']);
  }
});

test('a host that fails inside is 500 with the incident, a store that does not answer 503 with Retry-After', async (t) => {
  const { ask, lanes } = await fixture(t);
  lanes.onCommand = () => {
    throw new HostFault('incident-17', new Error('a bug with secrets'));
  };
  const fault = await ask('post', `/v1/hosts/${HOST}/crash`);
  assert.equal(fault.status, 500);
  assert.equal(fault.body.type, '/problems/host-fault');
  assert.match(fault.body.detail, /incident-17/);
  assert.doesNotMatch(fault.text, /secrets/);
  lanes.onCommand = () => {
    throw new StoreUnavailable('the disk is full');
  };
  const store = await ask('post', `/v1/hosts/${HOST}/crash`);
  assert.equal(store.status, 503);
  assert.equal(store.headers['retry-after'], '1');
  lanes.onCommand = () => {
    throw new TypeError('a bug with secrets');
  };
  const bug = await ask('post', `/v1/hosts/${HOST}/crash`);
  assert.equal(bug.status, 500);
  assert.doesNotMatch(bug.text, /secrets/);
});

test('every kind of problem has a page', async (t) => {
  const { ask } = await fixture(t);
  for (const [name, kind] of Object.entries(PROBLEMS)) {
    const { status, body } = await ask('get', `/problems/${name}`, undefined, null);
    assert.equal(status, 200);
    assert.deepEqual(body, { type: `/problems/${name}`, ...kind });
  }
  assert.equal((await ask('get', '/problems/toString', undefined, null)).status, 404);
});
