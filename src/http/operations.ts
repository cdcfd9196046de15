/**
 * REST operations that are exactly one system call. Each entry, in src/http/operations, says how its parameters make
 * the call and how the result becomes the answer; here the entries become routes. Calls are implemented in the kernel
 * only.
 */
import type { z } from 'zod';
import type { CallResult } from '../host/command.ts';
import type { CallName } from '../kernel/uapi/calls.ts';
import { granted, kernelError, refusal } from './answers.ts';
import { ACCESS_OPERATIONS } from './operations/accesses.ts';
import { CONTAINER_OPERATIONS } from './operations/container.ts';
import { DESCRIPTOR_OPERATIONS } from './operations/descriptors.ts';
import { EVENTFD_OPERATIONS } from './operations/eventfds.ts';
import { HWPT_OPERATIONS } from './operations/hwpts.ts';
import { INTERRUPT_OPERATIONS } from './operations/interrupts.ts';
import { IOAS_OPERATIONS } from './operations/ioases.ts';
import { LIVEUPDATE_OPERATIONS } from './operations/liveupdate.ts';
import { MEMORY_OPERATIONS } from './operations/memory.ts';
import type { CallOperation } from './operations/operation.ts';
import { QUEUE_OPERATIONS } from './operations/queues.ts';
import { VFIO_OPERATIONS } from './operations/vfio.ts';
import { VFIO_RESET_OPERATIONS } from './operations/vfio-resets.ts';
import { VIOMMU_OPERATIONS } from './operations/viommus.ts';
import { isFreeing } from './quotas/frees.ts';
import { type Route, route } from './route.ts';
import { toldErrnos } from './schemas/calls.ts';

export const OPERATIONS: readonly CallOperation[] = [
  ...DESCRIPTOR_OPERATIONS,
  ...MEMORY_OPERATIONS,
  ...EVENTFD_OPERATIONS,
  ...IOAS_OPERATIONS,
  ...HWPT_OPERATIONS,
  ...VIOMMU_OPERATIONS,
  ...QUEUE_OPERATIONS,
  ...ACCESS_OPERATIONS,
  ...CONTAINER_OPERATIONS,
  ...VFIO_OPERATIONS,
  ...INTERRUPT_OPERATIONS,
  ...VFIO_RESET_OPERATIONS,
  ...LIVEUPDATE_OPERATIONS,
];

export const OPERATION_ROUTES: readonly Route[] = OPERATIONS.map(callRoute);

function callRoute(operation: CallOperation): Route {
  const { path, call, request, parameters, arg, status, answer, made, madeIn, description, ...rest } = operation;
  const { summary, tag, method, operationId, query, body, bodyExample } = rest;
  const location = (made_: never, values: { params: { host: string; pid: number } }): string => {
    const { host, pid } = values.params;
    const below = made!(made_, values as never);
    return `/v1/hosts/${host}/processes/${madeIn?.(made_, values as never) ?? pid}${below && `/${below}`}`;
  };
  const name = request ?? (call as CallName);
  const performs = `Performs ${request === undefined ? '' : 'the ioctl '}\`${name}\`. ${toldErrnos(name)}`.trimEnd();
  return route<`/v1/hosts/{host}/processes/{pid}/${string}`, z.ZodType, z.ZodType>({
    method,
    path: `/v1/hosts/{host}/processes/{pid}/${path}`,
    operationId,
    tag,
    summary,
    description: description === undefined ? performs : `${description} ${performs}`,
    access: 'tenant',
    refusable: true,
    performs: true,
    ...(isFreeing({ call, request }) && { frees: 'everything' }),
    ...(query && { query }),
    ...(body && { body }),
    ...(bodyExample !== undefined && { bodyExample }),
    success: { [status]: { ...(answer ?? { description: 'Done.' }), ...(made && { location }) } },
    async handle({ lanes }, input) {
      const values = input as never;
      const { pid, fd } = input.params as { pid: number; fd?: number };
      const given = arg === undefined ? {} : { arg: arg(values) };
      const asked = request === undefined ? parameters?.(values) : { fd, request, ...given };
      const calls = [{ call, ...(fd === undefined ? {} : { fd }), ...asked }];
      const { results } = granted<{ results: CallResult[] }>(
        await lanes.execute(input.host.id, { op: 'calls', pid, calls }),
      );
      const result = succeeded(results[0]!);
      return answer?.from(result, values);
    },
  });
}

function succeeded(result: CallResult): CallResult {
  const { errno, where = '', why = '' } = result;
  if (errno === undefined) return result;
  throw refusal(kernelError({ ...result, errno, where }), why);
}
