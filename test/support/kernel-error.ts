/** How the tests see a refusal of the kernel, by either face of the API. */
import assert from 'node:assert/strict';

export class KernelError extends Error {
  readonly errno: string;
  readonly rule: string | undefined;

  constructor(errno: string, what: string, why: string | undefined, rule: string | undefined) {
    super(`${what}: ${errno}${why === undefined ? '' : ` (${why})`}`);
    this.errno = errno;
    this.rule = rule;
  }
}

/** Succeeds if the kernel refuses with exactly this errno. */
export async function expectErrno(errno: string, outcome: Promise<unknown>): Promise<KernelError> {
  const error = await outcome.then(
    (value) => assert.fail(`${errno} expected, but it succeeded: ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  );
  if (!(error instanceof KernelError)) throw error;
  assert.equal(error.errno, errno, error.message);
  return error;
}

export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
