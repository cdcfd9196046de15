/** What came of a scenario, as the reports tell it. */

export interface Failure {
  /** `file:line` of what was not as expected. */
  readonly at: string;
  /** In one sentence. */
  readonly message: string;
  /** The step as it is written. */
  readonly step: string;
  /** Each thing that differs: `what: expected …, got …`. */
  readonly differences: readonly { what: string; expected: unknown; got: unknown }[];
  /** What the service answered to the step. */
  readonly answer?: unknown;
  /** The last events of the host, as lines. */
  readonly timeline: readonly string[];
  /** Lines for a shell that do the same again. */
  readonly reproduce: readonly string[];
}

export interface Outcome {
  readonly file: string;
  readonly line: number;
  /** With the parameters, where there are any. */
  readonly name: string;
  readonly about?: string;
  readonly steps: number;
  readonly milliseconds: number;
  readonly failure?: Failure;
}

export interface Summary {
  readonly outcomes: readonly Outcome[];
  readonly passed: number;
  readonly failed: number;
  readonly milliseconds: number;
}
