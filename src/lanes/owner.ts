/** Which lane owns a host: a hash of its id, so that a restart needs no table. */
import { randomBytes } from 'node:crypto';
import { hashOf } from '../threads/hash.ts';

export const laneOf = (hostId: string, lanes: number): number => hashOf(hostId) % lanes;

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** A random id. 32 symbols divide the values of a byte without bias. */
const randomHostId = (): string => `h-${[...randomBytes(16)].map((byte) => BASE32[byte & 31]).join('')}`;

/** One whose host is of that lane. */
export function newHostId(lane: number, lanes: number): string {
  let id = randomHostId();
  while (laneOf(id, lanes) !== lane) id = randomHostId();
  return id;
}
