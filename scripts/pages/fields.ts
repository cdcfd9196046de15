/** How pages show the fields of events. */
import type { EventField, EventFields } from '../../src/kernel/event-fields.ts';

const TYPES = {
  bdf: 'address',
  text: 'text',
  hex: '64 bits',
  integer: 'number',
  flag: 'true or false',
  errno: 'errno',
};

export function fieldText(name: string, { type, values, nullable, about }: EventField): string {
  const what = values === undefined ? TYPES[type] : values.map((value) => `\`${value}\``).join(', ');
  return `\`${name}\` (${what}${nullable ? ', or null' : ''}): ${about}`;
}

/** One a line; `isKnown`: it is explained elsewhere. */
export const fieldsText = (fields: EventFields, isKnown: (field: EventField) => boolean = () => false): string =>
  Object.entries(fields)
    .map(([name, field]) => (isKnown(field) ? `\`${name}\`` : fieldText(name, field)))
    .join('<br>');
