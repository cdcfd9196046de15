/** The format of scenario files and of setups, as zod schemas: what is checked, and what editors are told. */
import { z } from 'zod';
import { type Action, actions, hostFields } from './actions.ts';
import { MATCHERS } from './matching.ts';

const Symbols = z
  .record(z.string().regex(/^[A-Za-z_]\w*$/), z.unknown())
  .describe('Names for values: `$name` stands for the value from here on.');

const HostSpec = z
  .strictObject(
    Object.fromEntries([...hostFields()].map(([name, { about }]) => [name, z.unknown().optional().describe(about)])),
  )
  .describe('What `POST /v1/hosts` takes; of the preset `vmm-lab` unless it says what machine it is.');

const ExpectedEvent = z.union([
  z.string().describe('The kind of an event that has to happen.'),
  z.strictObject({ no: z.string() }).describe('The kind of an event that must not happen.'),
  z.looseObject({ kind: z.string() }).describe('The kind, and fields of its `data`.'),
]);

const Expectation = z.unknown().describe(
  'Without it the step has to succeed. `EBUSY` or another errno: it is refused so. `no-gap`: the engines of all devices go on and have met ' +
    'no gap. `fault`: the access of `dma` is refused by the IOMMU. A number: what the call returns. A mapping: fields of the answer, or of ' +
    `the refusal (\`errno\`, \`where\`, \`rule\`, \`status\`). A list: all of it. Conditions: ${Object.entries(MATCHERS)
      .map(([name, { about }]) => `\`{${name}: …}\` ${about}`)
      .join(' ')} \`{text: hello}\` stands for its base64.`,
);

/** What a step may have beside what it does. */
const MODIFIERS = {
  by: z.string().optional().describe('Name of the process that does it; the only one there is, if not given.'),
  host: z.string().optional().describe('Name of the host, where the scenario has several.'),
  as: z
    .union([z.string(), z.record(z.string(), z.string())])
    .optional()
    .describe(
      'A name for what a call returns, or for the whole answer of anything else; or names, each with a field of the answer.',
    ),
  expect: Expectation.optional(),
  states: z
    .record(z.string(), z.string())
    .optional()
    .describe('Devices, each with the state (L, A, S, X or N) that it is in behind the step.'),
  hazards: z
    .array(z.union([z.string(), z.looseObject({ hazard: z.string() })]))
    .optional()
    .describe('The hazards that the step raises, all of them, in order; none, if not given.'),
  events: z
    .array(ExpectedEvent)
    .optional()
    .describe('Of the kinds that are named here, exactly these events happen in the step, in this order.'),
  with: Symbols.optional().describe('Of `use`: symbols that the setup has in place of its own.'),
  use: z.string().optional().describe('Name of a setup, a file in `setups`, whose steps are done here.'),
  for: z
    .record(z.string(), z.union([z.array(z.unknown()).min(1), z.string().regex(/^\d+\.\.\d+$/)]))
    .optional()
    .describe(
      'A name, and the values that it has, one after the other: a list, or `1..10`. `steps` are done for each.',
    ),
  get steps() {
    return z.array(Step).min(1).optional().describe('The steps of a `for`.');
  },
} as const;

/** The keys that say what a step does, beside the actions of the API. */
const OWN_ACTIONS: readonly string[] = ['use', 'for'];

function schemaOf(action: Action): z.ZodType {
  const fields = [...action.fields].map(([name, { about, required }]) => {
    const field = z.unknown().describe(about);
    return [name, required ? field : field.optional()] as const;
  });
  const mapping = z.strictObject(Object.fromEntries(fields));
  const single = z.union([z.string(), z.number(), z.null()]);
  return z.union([mapping, single]).optional().describe(action.about);
}

const Step: z.ZodType<StepInput> = z.lazy(() => stepSchema());

export type StepInput = Record<string, unknown>;

let step: z.ZodType<StepInput> | undefined;

function stepSchema(): z.ZodType<StepInput> {
  step ??= z.strictObject({
    ...Object.fromEntries([...actions().values()].map((action) => [action.name, schemaOf(action)])),
    ...MODIFIERS,
  }) as unknown as z.ZodType<StepInput>;
  return step;
}

const steps = z.array(Step).min(1).describe('What is done, and what is expected, in order.');
const about = z.string().optional().describe('What it shows, for people.');

export const Scenario = z.strictObject({
  name: z.string().min(1).describe('Names it in reports.'),
  about,
  host: HostSpec.optional(),
  hosts: z.record(z.string(), HostSpec).optional().describe('Several hosts by name, in place of `host`.'),
  parameters: z
    .record(z.string().regex(/^[A-Za-z_]\w*$/), z.array(z.unknown()).min(1))
    .optional()
    .describe('Symbols with several values: the scenario is run with each combination.'),
  symbols: Symbols.optional(),
  steps,
});

export const Setup = z.strictObject({ about, symbols: Symbols.optional(), steps });

export type ScenarioInput = z.infer<typeof Scenario>;
export type SetupInput = z.infer<typeof Setup>;

/** What a step does: one key; undefined: it only looks. */
export function actionNamesOf(step: StepInput): string[] {
  return Object.keys(step).filter((key) => OWN_ACTIONS.includes(key) || actions().has(key));
}

/** The JSON Schema that editors take, for scenarios and for setups. */
export function jsonSchema(): object {
  const schema = z.toJSONSchema(z.union([Scenario, Setup]), { io: 'input', reused: 'inline' });
  return { ...schema, title: 'Scenarios of Holdover, and setups' };
}
