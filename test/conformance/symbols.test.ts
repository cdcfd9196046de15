import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Symbols } from './symbols.ts';

describe('symbols of a trace', () => {
  test('stand for the numbers that were bound, wherever they are', () => {
    const symbols = new Symbols();
    symbols.bind('ioas0', 1, 'iommufd 0');
    symbols.bind('iommufd0', 3, 'fd 1');
    const call = { call: 'ioctl', fd: '$iommufd0', arg: { ioas_id: '$ioas0', more: ['$ioas0', 7, null] } };
    const sent = { call: 'ioctl', fd: 3, arg: { ioas_id: 1, more: [1, 7, null] } };
    assert.deepEqual(symbols.argument(call), sent);
    assert.deepEqual(symbols.expectation(call), sent);
  });

  test('are parts of paths', () => {
    const symbols = new Symbols();
    symbols.bind('memfd0', 5, 'any');
    assert.deepEqual(symbols.argument({ path: '/proc/self/fd/$memfd0' }), { path: '/proc/self/fd/5' });
  });

  test('are not looked for in names and bytes', () => {
    const symbols = new Symbols();
    symbols.bind('ioas0', 1, 'iommufd 0');
    const call = { name: '$ioas0', data: '$ioas0', path: '$ioas0', other: '$ not one' };
    assert.deepEqual(symbols.argument(call), call);
  });

  test('are wrong numbers once their number belongs to another', () => {
    const symbols = new Symbols();
    symbols.bind('hwpt0', 3, 'iommufd 0');
    symbols.bind('hwpt1', 3, 'iommufd 0');
    symbols.bind('memfd0', 5, 'fd 1');
    symbols.bind('memfd1', 5, 'fd 1');
    assert.deepEqual(symbols.argument(['$hwpt0', '$hwpt1', '$memfd0', '$memfd1']), [0x7fffff01, 3, 777, 5]);
    assert.deepEqual(symbols.expectation(['$hwpt0', '$memfd0']), [3, 5], 'an answer is what it was');
  });

  test('keep their numbers where another space has the same one', () => {
    const symbols = new Symbols();
    symbols.bind('ioas0', 1, 'iommufd 0');
    symbols.bind('ioas1', 1, 'iommufd 1');
    symbols.bind('luo0', 3, 'any');
    symbols.bind('session0', 3, 'any');
    assert.deepEqual(symbols.argument(['$ioas0', '$ioas1', '$luo0', '$session0']), [1, 1, 3, 3]);
  });

  test('that nothing has bound are an error', () => {
    assert.throws(() => new Symbols().argument('$ioas0'), /\$ioas0 is used before/);
  });
});
