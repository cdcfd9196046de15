/** The OpenAPI document suits programs that make clients of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openapiDocument } from '../../src/http/openapi.ts';
import { PROBLEMS } from '../../src/http/problems.ts';
import { BatchInput } from '../../src/http/schemas/batch.ts';
import { CallsInput } from '../../src/http/schemas/calls.ts';
import { HostInput } from '../../src/http/schemas/host.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import { EVENT_KINDS } from '../../src/kernel/events.ts';
import { FAULT_POINTS } from '../../src/kernel/faults.ts';
import { HAZARD_NAMES } from '../../src/kernel/hazards.ts';
import { ERRNOS } from '../../src/kernel/uapi/errnos.ts';
import { FAULT_REASONS } from '../../src/machine/iommu-unit.ts';
import { namedSchema, OPERATIONS, type Parameter, resolved, type Schema } from '../support/operations.ts';

type Node = Record<string, unknown>;

const document = openapiDocument() as { components: Record<string, Node> };

/** Each object of the document, with the way to it. */
function* nodes(value: unknown, path: string): Generator<[path: string, node: Node]> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield [path, value as Node];
  for (const [name, part] of Object.entries(value)) yield* nodes(part, `${path}/${name}`);
}

const ALL = [...nodes(document, '')].filter(([path]) => !/\/(examples?|value)(\/|$)/.test(path));

/** Names of the components that these need. */
function reached(from: unknown, known = new Set<string>()): Set<string> {
  for (const [, { $ref }] of nodes(from, '')) {
    if (typeof $ref !== 'string' || known.has($ref)) continue;
    known.add($ref);
    const [, , kind, name] = $ref.split('/');
    reached(document.components[kind!]![name!], known);
  }
  return known;
}

const PASCAL = /^([A-Z][a-z0-9]*)+$/;

test('answers are open for new fields, and requests are not', () => {
  const bodies = OPERATIONS.map(({ requestBody }) => requestBody);
  const answers = OPERATIONS.map(({ responses }) => responses);
  const schemas = (refs: Set<string>) =>
    [...refs].map((ref) => [ref, document.components[ref.split('/')[2]!]![ref.split('/')[3]!]] as const);
  for (const [name, part] of [['', answers] as const, ...schemas(reached(answers))])
    for (const [path, node] of nodes(part, name)) assert.notEqual(node.additionalProperties, false, path);
  for (const [name, part] of [['', bodies] as const, ...schemas(reached(bodies))])
    for (const [path, node] of nodes(part, name))
      if (node.type === 'object' && node.properties) assert.equal(node.additionalProperties, false, path);
});

test('whole numbers say their width', () => {
  for (const [path, { type, format, minimum, maximum }] of ALL) {
    if (type !== 'integer') continue;
    const isNarrow = Number(minimum) >= -(2 ** 31) && Number(maximum) < 2 ** 31;
    assert.equal(format, isNarrow ? 'int32' : 'int64', path);
  }
});

test('a union has no unions in it, and one that tells its members apart has each of them by name', () => {
  let discriminated = 0;
  for (const [path, { oneOf, anyOf, discriminator }] of ALL) {
    const members = (oneOf ?? anyOf) as Schema[] | undefined;
    for (const { oneOf: inner, anyOf: other } of members ?? []) assert.ok(!inner && !other, path);
    if (discriminator === undefined) continue;
    discriminated += 1;
    const { propertyName, mapping } = discriminator as { propertyName: string; mapping: Record<string, string> };
    assert.deepEqual(
      Object.values(mapping),
      members!.map(({ $ref }) => $ref),
      path,
    );
    for (const [value, $ref] of Object.entries(mapping))
      assert.equal(resolved({ $ref }).properties![propertyName]!.const, value, path);
  }
  assert.ok(discriminated >= 5, `${discriminated}`);
  const { anyOf: calls } = namedSchema('Call');
  assert.ok(calls!.every(({ $ref }) => resolved({ $ref: $ref! }).type === 'object'));
});

test('names of components are in Pascal case, and those of operations a verb and what it is done to', () => {
  for (const [kind, components] of Object.entries(document.components))
    for (const name of Object.keys(components)) assert.match(name, PASCAL, kind);
  const ids = OPERATIONS.map(({ operationId }) => operationId);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^[a-z]+([A-Z][a-z0-9]*)+$/);
});

/** Those that many operations have stand among the components. */
function parameterOf(parameter: Parameter & { $ref?: string }): Parameter {
  const name = parameter.$ref?.split('/').at(-1);
  return name === undefined
    ? parameter
    : (document.components.parameters as unknown as Record<string, Parameter>)[name]!;
}

test('every parameter says what it is, with an example', () => {
  for (const { operationId, parameters = [] } of OPERATIONS)
    for (const parameter of parameters) {
      const { name, description, example, schema } = parameterOf(parameter);
      assert.ok(description && example !== undefined, `${operationId} ${name}`);
      assert.ok(!('examples' in schema) && !('description' in schema), `${operationId} ${name}`);
    }
});

test('page tokens are texts that fit their parameter', () => {
  let lists = 0;
  for (const { operationId, parameters = [], responses } of OPERATIONS) {
    const after = parameters.find(({ name }) => name === 'after');
    if (!after) continue;
    lists += 1;
    const { type, pattern = '' } = after.schema;
    assert.equal(type, 'string', operationId);
    assert.match(String(after.example), new RegExp(pattern), operationId);
    const list = resolved(responses[200]!.content!['application/json']!.schema);
    assert.deepEqual(resolved(list.properties!.nextPageToken!).type, ['string', 'null'], operationId);
  }
  assert.ok(lists >= 10, `${lists}`);
});

test('every operation has a description, and an answer for whatever else may happen', () => {
  for (const { operationId, description, responses } of OPERATIONS) {
    assert.match(description ?? '', /\.$/, operationId);
    assert.deepEqual(responses.default, { $ref: '#/components/responses/AnyProblem' }, operationId);
  }
});

test('operations that are a call tell its errnos', () => {
  const told = OPERATIONS.filter(({ description }) => description?.includes('Performs '));
  assert.ok(told.length > 80, `${told.length}`);
  for (const { description, operationId } of told) {
    const [, name] = /Performs (?:the ioctl )?`(\w+)`\./.exec(description!)!;
    const errnos = [...description!.matchAll(/`(E[A-Z0-9]+)`/g)].map(([, errno]) => errno);
    assert.deepEqual(errnos, ERRNOS[name as keyof typeof ERRNOS], operationId);
  }
});

test('names are enumerated wherever they stand', () => {
  const lists: Record<string, readonly string[]> = {
    Errno: Object.keys(ERRNO),
    EventKind: EVENT_KINDS,
    FaultPoint: Object.keys(FAULT_POINTS),
    HazardName: HAZARD_NAMES,
    DmaFaultReason: FAULT_REASONS,
    ProblemType: Object.keys(PROBLEMS).map((name) => `/problems/${name}`),
  };
  for (const [name, values] of Object.entries(lists)) assert.deepEqual(namedSchema(name).enum, values, name);
  const fields: [field: string, names: readonly string[]][] = [
    ['errno', lists.Errno!],
    ['point', lists.FaultPoint!],
  ];
  for (const [field, names] of fields)
    for (const [path, node] of ALL) {
      const schema = (node.properties as Record<string, Schema> | undefined)?.[field];
      if (schema === undefined) continue;
      const [named = schema] = (schema.anyOf ?? []).filter(({ type }) => type !== 'null');
      assert.deepEqual(resolved(named).enum, names, path);
    }
});

test('addresses of functions have a pattern', () => {
  let addresses = 0;
  for (const [path, node] of ALL) {
    const schema = (node.properties as Record<string, Schema> | undefined)?.bdf;
    if (schema === undefined) continue;
    addresses += 1;
    const [named = schema] = (schema.anyOf ?? []).filter(({ type }) => type !== 'null');
    assert.match('0000:01:00.0', new RegExp(resolved(named).pattern ?? '^$'), path);
    assert.doesNotMatch('nowhere', new RegExp(resolved(named).pattern!), path);
  }
  assert.ok(addresses > 20, `${addresses}`);
});

test('what is exactly one of several forms is so for the document and for the service', () => {
  const map = { op: 'map', length: 4096, userVa: 0 };
  const cases: [name: string, taken: (body: object) => boolean, body: object, forms: string[]][] = [
    ['BatchInput', (body) => BatchInput.safeParse(body).success, { operations: [map] }, ['BatchOfOperations']],
    [
      'BatchInput',
      (body) => BatchInput.safeParse(body).success,
      { columns: { ...map, userVa: [0] } },
      ['BatchOfColumns'],
    ],
    ['BatchInput', (body) => BatchInput.safeParse(body).success, { runs: [{ ...map, count: 2 }] }, ['BatchOfRuns']],
    ['BatchInput', (body) => BatchInput.safeParse(body).success, { operations: [map], runs: [] }, []],
    ['BatchInput', (body) => BatchInput.safeParse(body).success, {}, []],
    ['HostInput', (body) => HostInput.safeParse(body).success, { preset: 'vmm-lab', memory: 1 }, ['HostOfPreset']],
    [
      'HostInput',
      (body) => HostInput.safeParse(body).success,
      { topology: { text: '' }, devices: [] },
      ['HostOfTopology'],
    ],
    ['HostInput', (body) => HostInput.safeParse(body).success, { name: 'x' }, ['HostOfDevices']],
    ['HostInput', (body) => HostInput.safeParse(body).success, { from: 'h-x', at: 1 }, ['HostOfHost']],
  ];
  for (const [name, taken, body, forms] of cases) {
    const fitting = namedSchema(name)
      .oneOf!.filter(({ $ref }) => {
        const { properties = {}, required = [] } = resolved({ $ref: $ref! });
        return required.every((field) => field in body) && Object.keys(body).every((field) => field in properties);
      })
      .map(({ $ref }) => $ref!.split('/').at(-1));
    assert.deepEqual(fitting, forms, JSON.stringify(body));
    assert.equal(taken(body), forms.length === 1, JSON.stringify(body));
  }
});

test('an ioctl by its number is no named one', () => {
  const take = (call: object): boolean => CallsInput.safeParse({ calls: [call] }).success;
  assert.ok(take({ call: 'raw_ioctl', fd: 3, request: '0x3bf0' }));
  assert.ok(!take({ call: 'raw_ioctl', fd: 3, request: 'IOMMU_DESTROY' }));
  // What was written before that had a name of its own goes on, but is no form that the document tells of.
  assert.ok(take({ call: 'ioctl', fd: 3, request: '0x3bf0' }));
  assert.ok(!JSON.stringify(document).includes('unlisted'));
  assert.ok(take({ call: 'ioctl', fd: 3, request: 'IOMMU_DESTROY' }));
});
