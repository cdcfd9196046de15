/** Parameters of paths and queries: how their text becomes a value. A name means the same in every path. */

import { z } from 'zod';
import { TENANT_NAME } from '../config.ts';
import { MAX_LISTED } from '../limits.ts';
import { hex, UMAX } from '../machine/address.ts';
import { BDF, parseBdf } from '../machine/topology/functions.ts';
import { expected, S32_MAX, S32_MIN, U32_MAX } from './schemas/values.ts';

function decimal(least: number, most: number, about: string, example: number) {
  const error = expected(`a whole number from ${least} to ${most}`);
  return z
    .string({ error })
    .regex(/^-?\d{1,16}$/, { error, abort: true })
    .transform(Number)
    .refine((value) => value >= least && value <= most, { error })
    .meta({
      description: about,
      override: ({ jsonSchema }: { jsonSchema: Record<string, unknown> }) => {
        delete jsonSchema.pattern;
        Object.assign(jsonSchema, { type: 'integer', minimum: least, maximum: most, examples: [example] });
      },
    });
}

const U64_RULE = 'a 64-bit number, hexadecimal such as 0x1000 or decimal such as 4096';

/** A 64-bit number in hexadecimal or decimal digits; the value is canonical hexadecimal. */
export function u64Text(about: string, example = '0x100000000') {
  const error = expected(U64_RULE);
  return z
    .string({ error })
    .regex(/^(0x[0-9a-fA-F]{1,16}|\d{1,20})$/, { error, abort: true })
    .refine((value) => BigInt(value) <= UMAX, { error })
    .transform((value) => hex(BigInt(value)))
    .meta({ description: about, override: { examples: [example] } });
}

export const id = (about: string, example = 1) => decimal(0, U32_MAX, about, example);
export const integerText = decimal;

export const booleanText = (about: string) =>
  z
    .enum(['true', 'false'], { error: expected('true or false') })
    .transform((value) => value === 'true')
    .meta({ description: about, override: { type: 'boolean', enum: undefined } });

export const limit = (most: number, fallback: number) =>
  decimal(1, most, `At most so many items; ${fallback} if not given.`, fallback).default(fallback);

/** The parameters of a list that is paged: `after` is the token of the page before. */
export const paging = <After extends z.ZodType>(after: After) => ({
  limit: limit(MAX_LISTED, MAX_LISTED),
  after: after.meta({ description: 'The `nextPageToken` of the page before.' }).optional(),
});

/** The same where tokens are the numbers of items. */
export const numberedPaging = () =>
  paging(token(decimal(0, Number.MAX_SAFE_INTEGER, 'The `nextPageToken` of the page before.', 1).transform(String)));

/** A page token that is a number: it is a text for whoever hands it on. */
export const token = <Schema extends z.ZodType>(number: Schema): Schema =>
  number.meta({
    ...number.meta(),
    override: ({ jsonSchema }: { jsonSchema: Record<string, unknown> }) => {
      for (const bound of ['minimum', 'maximum']) delete jsonSchema[bound];
      Object.assign(jsonSchema, { type: 'string', pattern: '^\\d{1,16}$', examples: ['12'] });
    },
  });

const bdf = z
  .string()
  .transform((value, context) => {
    const parsed = parseBdf(value);
    if ('bdf' in parsed) return parsed.bdf;
    context.addIssue({ code: 'custom', message: parsed.reason });
    return z.NEVER;
  })
  .meta({
    description: 'Address of the PCI function, `dddd:bb:dd.f`.',
    override: { pattern: BDF.source, examples: ['0000:01:00.0'] },
  });

/** All names that can stand between braces in a path. */
export const PARAMETERS = {
  host: z.string().meta({ description: 'Id of the host.', examples: ['h-6jx2m4vq7r3ta'] }),
  tenant: z.string().meta({ description: 'Id of the tenant.', examples: ['t-0b7d2f2c'] }),
  pid: decimal(0, S32_MAX, 'Number of the process.', 1),
  fd: decimal(S32_MIN, S32_MAX, 'Descriptor of the process.', 3),
  bdf,
  bar: decimal(0, 6, 'Number of the BAR; 6: the expansion ROM.', 0),
  region: id('Number of the region: 0 to 5 BARs, 6 the expansion ROM, 7 the configuration space.', 0),
  irq: id('Type of interrupts: 0 INTx, 1 MSI, 2 MSI-X, 3 errors, 4 the request to let the device go.', 0),
  group: decimal(0, S32_MAX, 'Number of the IOMMU group.', 0),
  ioas: id('Id of the IOAS in its iommufd.', 2),
  hwpt: id('Id of the HWPT in its iommufd.', 3),
  object: id('Id of any object of the iommufd.', 4),
  device: id('Id of the device in its iommufd, as the bind answered.'),
  pasid: id('PASID of the device.'),
  index: id('Number of the entry.', 0),
  access: decimal(S32_MIN, S32_MAX, 'Descriptor of the access.', 5),
  pin: decimal(0, S32_MAX, 'Number of the pin.', 0),
  token: u64Text('Token: 64 bits, hexadecimal or decimal.', '0x7'),
  address: u64Text('Address in the process, hexadecimal or decimal.', '0x7f0000000000'),
  extension: id('Number of the extension.'),
  feature: decimal(0, 0xffff, 'Number of the feature.', 5),
  fault: decimal(0, S32_MAX, 'Id of the armed fault.', 1),
  snapshot: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, { error: expected('a name of up to 64 of A-Z a-z 0-9 . _ -') })
    .meta({ description: 'Name of the snapshot.', examples: ['ready'] }),
  engine: decimal(0, S32_MAX, 'Id of the engine.', 1),
  key: z
    .string()
    .regex(TENANT_NAME, { error: expected('a name of up to 63 of A-Z a-z 0-9 . _ -') })
    .meta({ description: 'Name of the key.', examples: ['dashboard'] }),
  problem: z.string().meta({ description: 'Name of a kind of problem.', examples: ['not-found'] }),
} as const;

type Name<Path extends string> = Path extends `${string}{${infer First}}${infer Rest}` ? First | Name<Rest> : never;

/** The values of a path's parameters. */
export type PathValues<Path extends string> = {
  [N in Name<Path> & keyof typeof PARAMETERS]: z.output<(typeof PARAMETERS)[N]>;
};

export function parameterNames(path: string): (keyof typeof PARAMETERS)[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] as keyof typeof PARAMETERS);
}

export function pathSchema(path: string): z.ZodType {
  return z.object(Object.fromEntries(parameterNames(path).map((parameter) => [parameter, PARAMETERS[parameter]])));
}
