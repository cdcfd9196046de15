/**
 * Whether requests are told to a collector of OpenTelemetry as spans, by the variables that all programs have in common. Where it is
 * and how it is asked its exporter reads from them by itself.
 */

export const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

export interface Traces {
  sampler: (typeof SAMPLERS)[number];
  /** Of `…traceidratio`: which part of the traces is told, 0 to 1. */
  ratio: number;
}

const ENDPOINTS = ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'] as const;
const PROTOCOLS = ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'] as const;
/** The one that the exporter speaks. */
const PROTOCOL = 'http/json';

type Variables = Readonly<Record<string, string | undefined>>;

/** Null: no spans. Returns what is wrong as a sentence, if something is that matters. */
export function readTraces(given: Variables): { traces: Traces | null; warnings: string[] } | { wrong: string } {
  const endpoint = ENDPOINTS.find((name) => given[name] !== undefined);
  const isOff = given.OTEL_SDK_DISABLED?.toLowerCase() === 'true' || given.OTEL_TRACES_EXPORTER === 'none';
  if (endpoint === undefined || isOff) return { traces: null, warnings: [] };
  if (!/^https?:$/.test(URL.parse(given[endpoint]!)?.protocol ?? ''))
    return { wrong: `${endpoint} must be the URL of a collector, such as http://127.0.0.1:4318.` };
  const { OTEL_TRACES_SAMPLER = 'parentbased_always_on', OTEL_TRACES_SAMPLER_ARG: part = '1' } = given;
  const sampler = SAMPLERS.find((known) => known === OTEL_TRACES_SAMPLER);
  if (sampler === undefined) return { wrong: `OTEL_TRACES_SAMPLER must be one of ${SAMPLERS.join(', ')}.` };
  const ratio = Number(part);
  if (sampler.endsWith('traceidratio') && !(ratio >= 0 && ratio <= 1))
    return { wrong: 'OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1.' };
  const protocol = PROTOCOLS.find((name) => given[name] !== undefined);
  const warnings =
    protocol === undefined || given[protocol] === PROTOCOL
      ? []
      : [`${protocol} is ${given[protocol]}, but spans are sent as ${PROTOCOL}`];
  return { traces: { sampler, ratio }, warnings };
}
