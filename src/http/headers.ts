/** Headers that many requests and answers have, as the OpenAPI document tells them: each is described once, among its components. */

const parameter = (name: string, description: string, example: string) => ({
  name,
  in: 'header' as const,
  description,
  schema: { type: 'string' as const },
  example,
});

const header = (description: string, example: string) => ({
  description,
  schema: { type: 'string' as const },
  example,
});

const TAG = '"12"';

export const PARAMETER_COMPONENTS = {
  RequestId: parameter(
    'X-Request-Id',
    'What the request is called: up to 128 of `A-Z a-z 0-9 . _ ~ : / + = -`. Anything else is ignored, and it gets an id of its own.',
    'ci-4711/7',
  ),
  Traceparent: parameter(
    'traceparent',
    'The trace that the request is part of (W3C Trace Context): the log of the service names it.',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  ),
  IfMatch: parameter(
    'If-Match',
    'ETags of the host, or `*`: it is done only where the host is at one of them when its turn comes, else answered 412.',
    TAG,
  ),
  IfNoneMatch: parameter(
    'If-None-Match',
    'ETags of the host, or `*`: where it is at one of them the answer is 304, without a body.',
    TAG,
  ),
};

export const HEADER_COMPONENTS = {
  RequestId: header('What the request is called: here, in `instance`, and in the log.', 'ci-4711/7'),
  ETag: header('Where the host is: how many commands it has behind it.', TAG),
  Location: header('Path of what was made.', '/v1/hosts/h-6jx2m4vq7r3ta5cn'),
};

const parameterNamed = (name: keyof typeof PARAMETER_COMPONENTS) => ({ $ref: `#/components/parameters/${name}` });
const headerNamed = (name: keyof typeof HEADER_COMPONENTS) => ({ $ref: `#/components/headers/${name}` });

/** Of any request. */
export const OF_REQUESTS = [parameterNamed('RequestId'), parameterNamed('Traceparent')];
export const IF_MATCH = parameterNamed('IfMatch');
export const IF_NONE_MATCH = parameterNamed('IfNoneMatch');

/** Of an answer. */
export const headersOf = (has: { tag: boolean; location: boolean }) => ({
  'X-Request-Id': headerNamed('RequestId'),
  ...(has.tag && { ETag: headerNamed('ETag') }),
  ...(has.location && { Location: headerNamed('Location') }),
});

/** What a page in a browser may see of an answer, where it may see it at all. */
export const EXPOSED = [
  'ETag',
  'Idempotency-Replayed',
  'Location',
  'RateLimit',
  'RateLimit-Policy',
  'Retry-After',
  'X-Request-Id',
];
