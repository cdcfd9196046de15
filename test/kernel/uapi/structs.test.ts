/** Layouts of structs against what C makes of their declarations. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { REQUESTS, type RequestName } from '../../../src/kernel/uapi/index.ts';
import { endOf, type Layout, type Place } from '../../../src/kernel/uapi/layout.ts';
import { STRUCTS } from '../../../src/kernel/uapi/structs.ts';
import { ROOT } from '../../docs/paste.ts';
import { C_STRUCTS } from './c-structs.ts';

const layoutOf = (request: string): Layout => STRUCTS[request as RequestName] as Layout;
/** Members that no field stands for. */
const PADDING = ['size', 'argsz', 'pad', 'reserved', 'cap_offset'];

test('every request that points to something has a struct', () => {
  for (const [name, { places }] of Object.entries(STRUCTS)) {
    const elsewhere = Object.values(places).every((place) => typeof place === 'string');
    assert.equal(C_STRUCTS.has(name), !elsewhere, name);
  }
});

test('fields lie where C puts the members of these names', () => {
  for (const [request, { name, members, size }] of C_STRUCTS) {
    const { struct, places } = layoutOf(request);
    const { fields, size: known, minSize, ends = {} } = REQUESTS.get(request)!;
    assert.equal(struct, name, request);
    assert.equal(known, name === null ? 0 : size, `${request}: the size`);
    assert.ok(minSize <= size && (minSize === 0 || members.some(({ at, bytes }) => at + bytes === minSize)), request);
    const byName = new Map(members.flatMap((member) => member.names.map((each) => [each, member] as const)));
    for (const [field, { type, direction }] of Object.entries(fields)) {
      const place = places[field] as Exclude<Place, string>;
      const member = byName.get(field);
      assert.ok(member, `${request} ${field}`);
      assert.equal('behind' in place ? place.behind : place.at, member.at, `${request} ${field}`);
      assert.equal('behind' in place, member.behind !== undefined, `${request} ${field}`);
      if (member.behind === undefined)
        assert.equal(endOf(place, type), member.at + member.bytes, `${request} ${field}`);
      if (ends[field] !== undefined) assert.equal(ends[field], member.at + member.bytes, `${request} ${field}`);
      if (direction !== 'out' && minSize > 0 && member.at >= minSize && member.bytes > 0)
        assert.ok(ends[field], `${request} ${field}`);
      if ('length' in place && place.length) assert.deepEqual([...place.length], member.pointsTo?.count, field);
    }
    for (const member of members)
      assert.ok(
        member.names.some((each) => fields[each] !== undefined || PADDING.includes(each)),
        `${request} ${member.names} is no field`,
      );
  }
});

test('the page of structs has each member at its place', () => {
  const page = readFileSync(`${ROOT}docs/structs.md`, 'utf8');
  for (const [request, { members }] of C_STRUCTS) {
    const from = page.indexOf(`### ${request}\n`);
    const section = page.slice(from, page.indexOf('\n### ', from + 1));
    assert.ok(from >= 0, request);
    const fields = layoutOf(request).places;
    for (const { names, at, behind } of members)
      for (const name of names.filter((each) => each in fields))
        assert.match(
          section,
          new RegExp(`^\\| ${behind === undefined ? at : `from ${at}`} \\| .*\`${name}\``, 'm'),
          request,
        );
  }
});
