/** Processes of the running kernel, and their system calls. */
import { z } from 'zod';
import type { Command } from '../../host/command.ts';
import type { ProcessView } from '../../host/views.ts';
import { CAPABILITIES } from '../../kernel/process.ts';
import { MAX_CALLS, MAX_READ, MAX_WRITTEN } from '../../limits.ts';
import { granted, listed, passed } from '../answers.ts';
import { numberedPaging, paging, u64Text } from '../parameters.ts';
import { isFreeing } from '../quotas/frees.ts';
import { heavyRoute, type OfHost, type Route, route } from '../route.ts';
import { CallsAnswer, CallsInput } from '../schemas/calls.ts';
import { inBase64, strict, text, whole } from '../schemas/values.ts';
import { AreaList, DescriptorList, Process, ProcessList, TranslationRunList } from '../schemas/views.ts';
import { takeRoom } from '../serve-route.ts';
import { checkTransfers } from '../transfer-limit.ts';
import { RUN_EXAMPLE } from './devices.ts';

const PROCESSES = '/v1/hosts/{host}/processes';
const tag = 'Processes';
const access = 'tenant';

const PROCESS_EXAMPLE = {
  pid: 1,
  name: 'vmm',
  uid: 0,
  capabilities: [...CAPABILITIES],
  descriptors: [{ fd: 3, kind: 'iommufd', link: '/dev/iommu', preservedIn: null }],
  memory: [{ address: '0x7f0000000000', length: '0x200000', backing: 'anonymous' }],
  lockedBytes: '0x0',
};

export const PROCESS_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: PROCESSES,
    operationId: 'createProcess',
    tag,
    summary: 'Start a process',
    description: 'As root, with nothing open beyond descriptor 2.',
    access,
    refusable: true,
    body: strict({
      name: text(64, 'For people.').optional(),
      capabilities: z
        .array(z.enum(CAPABILITIES))
        .max(CAPABILITIES.length)
        .meta({ description: 'All of these if not given.' })
        .optional(),
    }).optional(),
    bodyExample: { name: 'vmm' },
    success: {
      201: {
        description: 'The process.',
        schema: Process,
        example: PROCESS_EXAMPLE,
        location: ({ pid }: ProcessView, { params: { host } }: OfHost) => `/v1/hosts/${host}/processes/${pid}`,
      },
    },
    handle: async ({ lanes }, { host, body }) =>
      granted<ProcessView>(await lanes.execute(host.id, { op: 'process.create', ...body })),
  }),
  route({
    method: 'GET',
    path: PROCESSES,
    operationId: 'listProcesses',
    tag,
    summary: 'List living processes',
    description:
      'By number. Each shows its first descriptors and areas of memory, as does a process that is read alone.',
    access,
    query: strict(numberedPaging()),
    success: { 200: { description: 'A page of them.', schema: ProcessList, example: whole([PROCESS_EXAMPLE]) } },
    handle: async ({ lanes }, { host, query }) => passed(await lanes.query(host.id, { view: 'processes', ...query })),
  }),
  route({
    method: 'GET',
    path: `${PROCESSES}/{pid}`,
    operationId: 'getProcess',
    tag,
    summary: 'Read a process',
    description: 'Its capabilities, descriptors and memory.',
    access,
    success: { 200: { description: 'The process.', schema: Process, example: PROCESS_EXAMPLE } },
    handle: async ({ lanes }, { host, params: { pid } }) =>
      granted(await lanes.query(host.id, { view: 'process', pid })),
  }),
  route({
    method: 'DELETE',
    path: `${PROCESSES}/{pid}`,
    operationId: 'killProcess',
    tag,
    summary: 'Kill a process',
    description: 'Its descriptors are closed, and nothing else is done for it.',
    access,
    refusable: true,
    success: { 204: { description: 'It is dead.' } },
    async handle({ lanes }, { host, params: { pid } }) {
      granted(await lanes.execute(host.id, { op: 'process.kill', pid }));
    },
  }),
  route({
    method: 'GET',
    path: `${PROCESSES}/{pid}/memory-map`,
    operationId: 'getMemoryMap',
    tag,
    summary: 'Where the memory of a process is',
    description: 'Ranges of its addresses, and the physical memory that each leads to.',
    access,
    query: strict({
      address: u64Text('First address.', '0x7f0000000000'),
      length: u64Text('Bytes.', '0x200000'),
    }),
    success: { 200: { description: 'The runs.', schema: TranslationRunList, example: whole([RUN_EXAMPLE]) } },
    handle: async ({ lanes }, { host, params: { pid }, query }) =>
      listed(await lanes.query(host.id, { view: 'memory', pid, ...query })),
  }),
  route({
    method: 'GET',
    path: `${PROCESSES}/{pid}/descriptors`,
    operationId: 'listDescriptors',
    tag,
    summary: 'List the open descriptors of a process',
    description: 'By number.',
    access,
    query: strict(numberedPaging()),
    success: {
      200: { description: 'A page of them.', schema: DescriptorList, example: whole(PROCESS_EXAMPLE.descriptors) },
    },
    handle: async ({ lanes }, { host, params: { pid }, query }) =>
      passed(await lanes.query(host.id, { view: 'descriptors', pid, ...query })),
  }),
  route({
    method: 'GET',
    path: `${PROCESSES}/{pid}/memory`,
    operationId: 'listMemory',
    tag,
    summary: 'List what a process has mapped',
    description: 'By address.',
    access,
    query: strict(paging(u64Text('First address of the last one.', '0x7f0000000000'))),
    success: { 200: { description: 'A page of it.', schema: AreaList, example: whole(PROCESS_EXAMPLE.memory) } },
    handle: async ({ lanes }, { host, params: { pid }, query }) =>
      passed(await lanes.query(host.id, { view: 'areas', pid, ...query })),
  }),
  heavyRoute({
    method: 'POST',
    path: `${PROCESSES}/{pid}/calls`,
    operationId: 'runCalls',
    tag: 'Calls',
    summary: 'Run system calls',
    description:
      `One after the other, at most ${MAX_CALLS}. A call that fails does not stop the rest unless \`stopOnError\` is ` +
      'true. `arg` has the fields of the uAPI struct; those that are not given are 0. Instead, `bytes` has the struct as a program ' +
      'has it, or `argument` the argument itself. What the calls of a request read ' +
      `(memory, files, bitmaps of dirty pages, information of the hardware) is at most ${MAX_READ >> 20} MiB together, and what they write ${MAX_WRITTEN >> 20} MiB.`,
    access,
    refusable: true,
    problems: ['answer-too-large', 'too-costly'],
    body: CallsInput,
    bodyExample: {
      calls: [
        { call: 'open', path: '/dev/iommu' },
        { call: 'ioctl', fd: 3, request: 'IOMMU_IOAS_ALLOC', arg: {} },
      ],
    },
    success: {
      200: {
        description: 'A result for each call.',
        schema: CallsAnswer,
        example: { results: [{ ret: 3 }, { ret: 0, arg: { out_ioas_id: 1 } }] },
      },
    },
    prepare({ params: { pid }, body }) {
      const { calls, stop_on_error: before, stopOnError = before } = body;
      const reads = checkTransfers(calls);
      const stop = stopOnError === undefined ? {} : { stopOnError };
      const command: Command = { op: 'calls', pid, calls, ...stop };
      return { heavy: command, light: { reads, frees: calls.every(isFreeing) } };
    },
    frees: ({ light }) => (light.frees ? 'use' : 'nothing'),
    async handle(context, { host, body: { heavy: command, light } }, reply) {
      takeRoom(context, reply, inBase64(light.reads));
      return passed(await context.lanes.execute(host.id, command));
    },
  }),
];
