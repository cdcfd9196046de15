/** What a kernel tells the log of its host. */
export type EventData = Record<string, string | number | boolean | null>;

export interface EventSink {
  /** `rule`: the rule of the design behind it, where there is one. */
  emit(kind: string, message: string, data: EventData, rule?: string): void;
}
