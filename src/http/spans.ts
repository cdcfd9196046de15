/** Tells a collector of OpenTelemetry of each request, as a span. It is loaded only where there is one. */
import type { IncomingHttpHeaders } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { defaultTextMapGetter, ROOT_CONTEXT, SpanKind, SpanStatusCode, type Tracer } from '@opentelemetry/api';
import { ExportResultCode, W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import {
  defaultResource,
  detectResources,
  resourceAttributesEnvDetector,
  resourceFromAttributes,
  serviceNameEnvDetector,
} from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import manifest from '../../package.json' with { type: 'json' };
import { STOP_SPANS_MS } from '../limits.ts';
import type { Log, RequestFacts } from '../log.ts';
import type { Traces } from '../traces.ts';

const { name, version } = manifest;

export class Spans {
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;
  readonly #propagator = new W3CTraceContextPropagator();

  constructor(traces: Traces, log: Log) {
    const given = detectResources({ detectors: [resourceAttributesEnvDetector, serviceNameEnvDetector] });
    this.#provider = new TracerProvider({
      resource: defaultResource()
        .merge(resourceFromAttributes({ 'service.name': name, 'service.version': version }))
        .merge(given),
      sampler: samplerOf(traces),
      spanProcessors: [new BatchSpanProcessor({ exporter: toldIn(log, new OTLPTraceExporter()) })],
    });
    this.#tracer = this.#provider.getTracer(name, version);
  }

  /** A request has been answered, so many milliseconds after it came. As in the log, nothing of its path, its key or its body is told. */
  note(facts: RequestFacts, refused: number, headers: IncomingHttpHeaders, milliseconds: number): void {
    const { method, route, status, reqId, tenant, host, problem, errno, where } = facts;
    const end = performance.timeOrigin + performance.now();
    const span = this.#tracer.startSpan(
      route === null ? method : `${method} ${route}`,
      {
        kind: SpanKind.SERVER,
        startTime: end - milliseconds,
        attributes: {
          'http.request.method': method,
          'http.response.status_code': status,
          'url.scheme': 'http',
          ...(route !== null && { 'http.route': route }),
          ...(status >= 500 && { 'error.type': String(status) }),
          'holdover.request.id': reqId,
          ...(tenant !== undefined && { 'holdover.tenant': tenant }),
          ...(host !== undefined && { 'holdover.host': host }),
          ...(problem !== undefined && { 'holdover.problem': problem }),
          ...(refused > 0 && { 'holdover.refused': refused }),
          ...(errno !== undefined && { 'holdover.errno': errno }),
          ...(where !== undefined && { 'holdover.where': where }),
        },
      },
      this.#propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter),
    );
    if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end(end);
  }

  /** Sends what has not been sent, as far as the collector takes it soon. */
  async close(): Promise<void> {
    const closed = this.#provider.shutdown().catch(() => {});
    await Promise.race([closed, setTimeout(STOP_SPANS_MS, undefined, { ref: false })]);
  }
}

function samplerOf({ sampler, ratio }: Traces): Sampler {
  const root = sampler.endsWith('always_off')
    ? new AlwaysOffSampler()
    : sampler.endsWith('always_on')
      ? new AlwaysOnSampler()
      : new TraceIdRatioBasedSampler(ratio);
  return sampler.startsWith('parentbased') ? new ParentBasedSampler({ root }) : root;
}

/** Says in the log when the collector begins to fail, and when it takes spans again. */
function toldIn(log: Log, exporter: SpanExporter): SpanExporter {
  let isFailing = false;
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        const { error: err } = result;
        const fails = result.code !== ExportResultCode.SUCCESS;
        if (fails && !isFailing)
          log.warn({ err }, 'spans cannot be sent to the collector (OTEL_EXPORTER_OTLP_ENDPOINT)');
        if (!fails && isFailing) log.info({}, 'spans are sent to the collector again');
        isFailing = fails;
        done(result);
      });
    },
    shutdown: () => exporter.shutdown(),
  };
}
