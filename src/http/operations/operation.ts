/** The parts of an operation that is one system call. */
import type { z } from 'zod';
import type { CallResult } from '../../host/command.ts';
import type { CallName } from '../../kernel/uapi/calls.ts';
import type { RequestName } from '../../kernel/uapi/index.ts';
import type { PathValues } from '../parameters.ts';
import type { Method, Success, Tag } from '../route.ts';
import { Base64, S32_MAX, s32, strict } from '../schemas/values.ts';

interface Values<Path extends string, Query, Body> {
  params: PathValues<Path>;
  query: Query;
  body: Body;
}

interface Shape<Path extends string, Query extends z.ZodType, Body extends z.ZodType> {
  operationId: string;
  method: Method;
  /** The path below that of the process. The call is made on the descriptor `{fd}` in it, if there is one. */
  path: Path;
  tag: Tag;
  summary: string;
  description?: string;
  query?: Query;
  body?: Body;
  bodyExample?: z.input<Body>;
  status: 200 | 201 | 204;
}

/** A call of the table of calls; for `ioctl` with its request. */
type Performs = { call: CallName; request?: undefined } | { call: 'ioctl'; request: RequestName };

interface Functions<Values> {
  /** Parameters of the call beside `fd`. */
  parameters?: (values: Values) => Record<string, unknown>;
  /** Fields of the struct that an ioctl is given. */
  arg?: (values: Values) => Record<string, unknown>;
  /** Makes the body of the answer from the result of the call; absent: there is no body. */
  answer?: Omit<Success, 'location'> & { from: (result: CallResult, values: Values) => unknown };
  /** Where that is which it has made (201): below the path of the process; given the body of the answer. */
  made?: (answer: never, values: Values) => string;
  /** In which process, where it is another one. */
  madeIn?: (answer: never, values: Values) => number;
}

export type CallOperation = Shape<string, z.ZodType, z.ZodType> & Performs & Functions<never>;

export function operation<
  Path extends string,
  Query extends z.ZodType = z.ZodUndefined,
  Body extends z.ZodType = z.ZodUndefined,
>(
  entry: Shape<Path, Query, Body> & Performs & Functions<Values<Path, z.output<Query>, z.output<Body>>>,
): CallOperation {
  return entry as unknown as CallOperation;
}

/** A body without fields, which may be left out. */
export const Nothing = strict({}).optional();

/** A descriptor in a body. */
export const fdField = (about: string) => s32().meta({ description: about });

/** The answer of calls that return a new descriptor. */
const Descriptor = strict({ fd: s32().max(S32_MAX) }).meta({
  id: 'Descriptor',
  description: 'The lowest free descriptor of the process.',
});

export const descriptorAnswer = (description: string, from: (result: CallResult) => unknown = ({ ret }) => ret) => ({
  description,
  schema: Descriptor,
  example: { fd: 4 },
  from: (result: CallResult) => ({ fd: from(result) }),
});

/** Bytes that were read. */
export const Data = strict({ data: Base64 }).meta({ id: 'Data' });

/** Where something is that is known by its descriptor. */
export const descriptorIn =
  (collection: string) =>
  ({ fd }: { fd: number }): string =>
    `${collection}/${fd}`;

/** `mask` if the bit is set, else 0. */
export const bit = (set: boolean | undefined, mask: number): number => (set ? mask : 0);
