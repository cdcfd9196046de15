/**
 * Where the commands of a host stand in the journal: at its serial, shifted, and their sequence. So each is a row of one tree
 * without an index, in the order of its host.
 */

/** SQL. The place before its first command, of a row of `hosts`. */
export const BEGIN = '(hosts.serial << 32)';
/** The place of the last command that it can have. */
export const END = `(${BEGIN} + 4294967295)`;

const of = (place: string): string => `(SELECT ${place} FROM hosts WHERE id = :host)`;

/** Those of the host `:host`; nothing where there is no such host. */
export const BEGIN_OF_HOST = of(BEGIN);
export const END_OF_HOST = of(END);
export const OF_HOST = `place BETWEEN ${BEGIN_OF_HOST} AND ${END_OF_HOST}`;

/** The serials that there are: 31 bits, with which a place has 63. */
export const SERIALS = 'hosts.serial BETWEEN 1 AND 2147483647';
