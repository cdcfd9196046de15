/** The floor of `call-latency`: a bare Fastify that checks the same body with zod and answers as much. */
import { fastify } from 'fastify';
import { z } from 'zod';

const Body = z.strictObject({
  calls: z
    .array(
      z.strictObject({
        call: z.literal('ioctl'),
        fd: z.int(),
        request: z.string(),
        arg: z.record(z.string(), z.union([z.int(), z.string()])),
      }),
    )
    .max(1000),
});

const app = fastify();
app.post('/calls', async (request) => {
  const { calls } = Body.parse(request.body);
  return { results: calls.map(({ arg }) => ({ ret: 0, arg: { iova: arg.iova } })) };
});
process.stdout.write(`${await app.listen({ host: '127.0.0.1', port: 0 })}\n`);
