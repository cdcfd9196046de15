/** The fields of events: what their data consists of, and those that many kinds have. */

/** A field of an event's data. `hex` is a 64-bit number in hexadecimal, `errno` the name of an error number. */
export interface EventField {
  readonly type: 'bdf' | 'text' | 'hex' | 'integer' | 'flag' | 'errno';
  /** All texts that it can be. */
  readonly values?: readonly string[];
  readonly nullable?: true;
  /** Earlier versions did not tell it: their events that are stored are without it. */
  readonly optional?: true;
  readonly about: string;
}

export type EventFields = Readonly<Record<string, EventField>>;

export type EventVariants = Readonly<Record<string, { readonly about: string; readonly data: EventFields }>>;

export const FIELDS = {
  bdf: { type: 'bdf', about: 'Address of the PCI function.' },
  group: { type: 'integer', about: 'Number of the IOMMU group.' },
  driver: { type: 'text', about: 'Name of the driver.' },
  domain: { type: 'integer', about: 'Domain id in the IOMMU.' },
  hwpt: { type: 'integer', about: 'Id of the HWPT in its iommufd.' },
  session: { type: 'text', about: 'Name of the session.' },
  handler: { type: 'text', about: 'Compatible string of the file handler.' },
  token: { type: 'hex', about: 'Token of the file in the session.' },
  errno: { type: 'errno', about: 'Name of the error that was answered.' },
} as const satisfies EventFields;
