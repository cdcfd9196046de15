/** The schema of problem details. */
import { z } from 'zod';
import { PROBLEMS, type ProblemDocument, type ProblemName, problemType } from '../problems.ts';
import { Hazards } from './events.ts';
import { ErrnoName, strict } from './values.ts';

const TYPES = (Object.keys(PROBLEMS) as ProblemName[]).map(problemType);

export const Problem = strict({
  type: z.enum(TYPES).meta({ id: 'ProblemType', description: 'Path of a page about this kind of problem.' }),
  title: z.string(),
  status: z.int(),
  detail: z.string().meta({ description: 'What is wrong, and what to do next.' }),
  instance: z.string().meta({ description: 'Id of the request, as in the log of the service.' }),
  errno: ErrnoName.meta({ description: 'What the simulated kernel answers.' }).optional(),
  where: z.string().meta({ description: 'The kernel function that refuses.' }).optional(),
  rule: z.string().meta({ description: 'The rule of the design that decides, R1 to R25 and C1 to C7.' }).optional(),
  fault: z.int().meta({ description: 'The fault that was armed and has struck.' }).optional(),
  errors: z
    .array(
      strict({
        in: z.enum(['body', 'query', 'path']),
        pointer: z.string().meta({ description: 'JSON pointer (RFC 6901) to the field or parameter.' }),
        reason: z.string().meta({ description: 'What is allowed.' }),
      }),
    )
    .optional(),
  quota: z.string().meta({ description: 'The quota that the request is beyond.' }).optional(),
  limit: z.int().meta({ description: 'What that quota allows, in its unit.' }).optional(),
  used: z.int().meta({ description: 'What of it is used.' }).optional(),
  oldest: z.string().meta({ description: 'Id of the first event that is kept.' }).optional(),
  hazards: Hazards.optional(),
}).meta({ id: 'Problem', description: 'Problem details, RFC 9457.' }) satisfies z.ZodType<ProblemDocument>;
