/** A collector of OpenTelemetry is told of requests as spans, those of all lanes, also of the last ones before a stop. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { type Service, startService, temporaryDirectory } from '../support/service.ts';

type Attributes = { key: string; value: { stringValue?: string; intValue?: number } }[];

interface Span {
  name: string;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: Attributes;
  status: { code: number };
}

interface Sent {
  resourceSpans: { resource: { attributes: Attributes }; scopeSpans: { spans: Span[] }[] }[];
}

const plain = (attributes: Attributes): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue]));

async function collector(t: TestContext, status = 200) {
  const received: Sent[] = [];
  const paths: (string | undefined)[] = [];
  const server = createServer(async (request, response) => {
    received.push((await json(request)) as Sent);
    paths.push(request.url);
    response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => server.close());
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    paths,
    resources: () =>
      received.flatMap(({ resourceSpans }) => resourceSpans.map(({ resource }) => plain(resource.attributes))),
    spans: () =>
      received
        .flatMap(({ resourceSpans }) =>
          resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
        )
        .map((span) => ({ ...span, attributes: plain(span.attributes) })),
  };
}

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';

async function ask(
  service: Service,
  method: string,
  path: string,
  body?: object,
  headers: Record<string, string> = {},
) {
  const response = await fetch(`${service.url}${path}`, {
    method,
    headers: { authorization: 'Bearer dev-key', 'content-type': 'application/json', ...headers },
    ...(body && { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as { id: string; pid: number } };
}

test('each request is a span of the trace that its client names, with the errno of what was refused', async (t) => {
  const { url, paths, resources, spans } = await collector(t);
  const service = await startService(t, temporaryDirectory(t), {
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_SERVICE_NAME: 'lab', HOLDOVER_LANES: '2' },
  });
  const of = (flags: string) => ({ traceparent: `00-${TRACE}-${PARENT}-${flags}` });
  const { body: host } = await ask(service, 'POST', '/v1/hosts', { preset: 'vmm-lab' }, of('01'));
  const { body: vmm } = await ask(service, 'POST', `/v1/hosts/${host.id}/processes`, {});
  const process = `/v1/hosts/${host.id}/processes/${vmm.pid}`;
  await ask(
    service,
    'POST',
    `${process}/cdevs`,
    { path: '/dev/nowhere?secret' },
    { ...of('01'), 'x-request-id': 'mine' },
  );
  await ask(service, 'POST', `${process}/calls`, {
    calls: [
      { call: 'open', path: '/dev/iommu' },
      { call: 'close', fd: 9 },
    ],
  });
  await ask(service, 'GET', '/v1/hosts/h-unknown?secret', undefined, { authorization: 'Bearer secret' });
  await ask(service, 'GET', '/v1/hosts', undefined, of('00'));
  await ask(service, 'GET', '/nothing');
  await ask(service, 'GET', '/readyz', undefined, of('01'));
  const asked = Date.now();
  assert.deepEqual(await service.stop(), { code: 0, signal: null });

  const all = spans();
  assert.deepEqual(all.map(({ name }) => name).sort(), [
    'GET',
    'GET /v1/hosts/:host',
    'POST /v1/hosts',
    'POST /v1/hosts/:host/processes',
    'POST /v1/hosts/:host/processes/:pid/calls',
    'POST /v1/hosts/:host/processes/:pid/cdevs',
  ]);
  const [, unknown, created, process1, calls, refused] = all.sort((a, b) => (a.name < b.name ? -1 : 1));
  assert.deepEqual([created?.traceId, created?.parentSpanId, created?.kind], [TRACE, PARENT, 2]);
  assert.deepEqual([process1?.parentSpanId, process1?.traceId === TRACE], [undefined, false]);
  assert.deepEqual(refused?.attributes, {
    'http.request.method': 'POST',
    'http.response.status_code': 422,
    'url.scheme': 'http',
    'http.route': '/v1/hosts/:host/processes/:pid/cdevs',
    'holdover.request.id': 'mine',
    'holdover.tenant': 'dev',
    'holdover.host': host.id,
    'holdover.problem': 'kernel-refusal',
    'holdover.errno': 'ENOENT',
    'holdover.where': 'do_filp_open',
  });
  assert.deepEqual([refused?.traceId, refused?.parentSpanId], [TRACE, PARENT]);
  const { 'holdover.refused': count, 'holdover.errno': errno, 'http.response.status_code': status } = calls!.attributes;
  assert.deepEqual([status, count, errno], [200, 1, 'EBADF']);
  assert.equal(unknown?.attributes['holdover.problem'], 'unauthenticated');
  for (const { startTimeUnixNano: start, endTimeUnixNano: end } of all) {
    assert.ok(BigInt(start) < BigInt(end));
    assert.ok(Math.abs(Number(BigInt(end) / 1_000_000n) - asked) < 60_000);
  }
  assert.ok(!JSON.stringify(all).includes('secret') && !JSON.stringify(all).includes('dev-key'));
  for (const resource of resources()) {
    assert.equal(resource['service.name'], 'lab');
    assert.ok(resource['service.version']);
  }
  assert.deepEqual([...new Set(paths)], ['/v1/traces']);
});

test('a sampler decides of which traces the collector is told', async (t) => {
  const { url, paths, spans } = await collector(t);
  const service = await startService(t, temporaryDirectory(t), {
    env: {
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${url}/mine`,
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0',
    },
  });
  await ask(service, 'GET', '/v1/hosts');
  await ask(service, 'GET', '/v1/usage', undefined, { traceparent: `00-${TRACE}-${PARENT}-01` });
  await service.stop();
  assert.deepEqual(
    spans().map(({ name }) => name),
    ['GET /v1/usage'],
  );
  assert.deepEqual(paths, ['/mine']);
});

test('a collector that refuses spans is told of in the log', async (t) => {
  const { url } = await collector(t, 400);
  const service = await startService(t, temporaryDirectory(t), { env: { OTEL_EXPORTER_OTLP_ENDPOINT: url } });
  await ask(service, 'GET', '/v1/hosts');
  assert.deepEqual(await service.stop(), { code: 0, signal: null });
  assert.match(service.output(), /spans cannot be sent to the collector/);
});

test('a collector that does not answer keeps nobody from stopping', async (t) => {
  const silent = createServer(() => {});
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  t.after(() => {
    silent.close();
    silent.closeAllConnections();
  });
  const { port } = silent.address() as AddressInfo;
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` };
  const service = await startService(t, temporaryDirectory(t), { env });
  assert.equal((await ask(service, 'GET', '/v1/hosts')).status, 200);
  assert.deepEqual(await service.stop(), { code: 0, signal: null });
});
