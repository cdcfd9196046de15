/** Which lane owns a host: a hash of its id (FNV-1a, 32 bits), so that a restart needs no table. */
export function laneOf(hostId: string, lanes: number): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < hostId.length; index += 1) {
    hash = Math.imul(hash ^ hostId.charCodeAt(index), 0x01000193);
  }
  return (hash >>> 0) % lanes;
}
