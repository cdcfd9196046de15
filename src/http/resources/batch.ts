/** Batches of maps and unmaps: many operations on one IO address space in one request. */
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { Answer, BatchCommand } from '../../host/command.ts';
import { LINES } from '../accept.ts';
import { passed } from '../answers.ts';
import { answerLines, LINES_MEMORY } from '../batch-lines.ts';
import { giveBack } from '../bodies/buffers.ts';
import { checkUtf8 } from '../bodies/json.ts';
import { problemOf } from '../errors.ts';
import { type Before, once, partOf, REPLAYED } from '../idempotency.ts';
import { type Context, type Input, type Route, route } from '../route.ts';
import { BatchAnswer, BatchInput, BatchOperation, BatchProgress, BatchQuery } from '../schemas/batch.ts';
import { invalid } from '../validation.ts';

const PATH = '/v1/hosts/{host}/processes/{pid}/iommufds/{fd}/ioases/{ioas}/batch';

type BatchInputs = Input<
  typeof PATH,
  { onError?: 'stop' | 'continue' | undefined; results?: boolean | undefined },
  unknown
>;

export const BATCH_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: PATH,
    operationId: 'runBatch',
    tag: 'iommufd',
    summary: 'Map and unmap much at once',
    description:
      'Each operation does exactly what its ioctl does (IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP), in their ' +
      'order, and refused ones are listed in the answer, which is 200 whatever they did. A JSON body is one command: ' +
      `after a crash all of it is there or nothing. A body of type ${LINES}, an operation a line, may be of any size ` +
      'and is stored piece by piece: each line of the answer acknowledges all operations before its `acknowledged`. ' +
      'Options stand in a JSON body; for lines they are query parameters, without `rollback`.',
    access: 'tenant',
    refusable: true,
    problems: ['too-costly'],
    query: BatchQuery,
    body: BatchInput,
    bodyExample: {
      onError: 'continue',
      operations: [
        { op: 'map', iova: '0x100000000', length: '0x200000', userVa: '0x7f0000000000' },
        { op: 'unmap', iova: '0x80000000', length: '0x1000' },
      ],
    },
    success: {
      200: {
        description: 'What became of the operations.',
        schema: BatchAnswer,
        example: {
          applied: 1,
          failed: 1,
          skipped: 0,
          mappedBytes: '0x200000',
          unmappedBytes: '0x0',
          errors: [
            { index: 1, errno: 'ENOENT', where: 'iopt_unmap_iova_range', why: 'nothing is mapped in the range' },
          ],
        },
      },
    },
    raw: {
      type: LINES,
      body: BatchOperation,
      bodyExample: { op: 'map', iova: '0x100000000', length: 4096, userVa: '0x7f0000000000' },
      answer: BatchProgress,
      answerExample: {
        acknowledged: 20_000,
        applied: 20_000,
        failed: 0,
        mappedBytes: '0x4e20000',
        unmappedBytes: '0x0',
        errors: [],
      },
      memory: LINES_MEMORY,
    },
    async handle(context: Context, input: BatchInputs, reply: FastifyReply) {
      const { host, params, query, raw } = input;
      const target = { op: 'batch', pid: params.pid, fd: params.fd, ioas: params.ioas } as const;
      if (context.before !== undefined) return passed(context.before.answer);
      if (raw instanceof Readable) return await lines(context, target, input, raw, reply);
      for (const option of ['onError', 'results'] as const)
        if (query[option] !== undefined)
          throw invalid([{ in: 'query', pointer: `/${option}`, reason: 'is for lines: a JSON body has it in itself' }]);
      if (!(raw instanceof Uint8Array)) throw invalid([{ in: 'body', pointer: '', reason: 'required: a JSON object' }]);
      checkUtf8(raw);
      const answer = await context.lanes.batch(host.id, { ...target, format: 'json' }, raw);
      giveBack(raw as Uint8Array<ArrayBuffer>);
      return passed(answer);
    },
  }),
];

async function lines(
  { lanes, directory, config, quotas, key }: Context,
  target: Pick<BatchCommand, 'op' | 'pid' | 'fd' | 'ioas'>,
  { query, tenant, host }: BatchInputs,
  source: Readable,
  reply: FastifyReply,
): Promise<Readable> {
  const { onError = 'stop', results = false } = query;
  const options = { onError, results };
  let pieces = 0;
  const answer = answerLines({
    source,
    idle: config.bodyIdle,
    stops: onError === 'stop',
    isEven: key !== undefined,
    async run(piece, base) {
      const number = pieces++;
      const own = key && partOf(key, number, piece);
      const attempt = async (before?: Before): Promise<Answer> => {
        if (before !== undefined) {
          if (number === 0) reply.header(REPLAYED, 'true');
          return before.answer;
        }
        await quotas.check(tenant, host.id, 'nothing');
        return await lanes.batch(host.id, { ...target, format: 'lines', ...options, base }, piece, undefined, {
          key: own,
        });
      };
      return own === undefined ? await attempt() : await once({ lanes, directory, key: own, makes: false }, attempt);
    },
    explain: (error) => problemOf(error).document(reply.request.id),
  });
  // The first line is awaited: what fails before it is answered with a status, as everywhere.
  const first = await answer.next();
  reply.header('content-type', LINES);
  return Readable.from(followedBy(first.value ?? '', answer), { objectMode: false });
}

async function* followedBy(first: string, rest: AsyncGenerator<string, void>): AsyncGenerator<string, void> {
  yield first;
  yield* rest;
}
