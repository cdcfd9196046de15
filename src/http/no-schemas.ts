/** All is checked by `validation.ts`: what Fastify itself would check and write with is not even loaded. */
import type { FastifyServerOptions } from 'fastify';
import { asLine } from './errors.ts';

export const NO_SCHEMAS: FastifyServerOptions['schemaController'] = {
  compilersFactory: { buildValidator: () => (() => () => true) as never, buildSerializer: () => () => asLine },
};
