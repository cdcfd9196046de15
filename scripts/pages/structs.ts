/** docs/structs.md: the struct of each request, byte by byte. Made of the layouts that the service reads bytes by. */
import { type Field, REQUESTS, type RequestDescriptor, type RequestKind } from '../../src/kernel/uapi/index.ts';
import {
  ELEMENT_BYTES,
  endOf,
  isScalarType,
  type Layout,
  type Place,
  POINTER_BYTES,
  WIDTHS,
} from '../../src/kernel/uapi/layout.ts';
import { STRUCTS } from '../../src/kernel/uapi/structs.ts';
import { MAX_MEMORY_PIECES } from '../../src/limits.ts';
import { KINDS, table } from './support.ts';

const hex = (number: number): string => `0x${number.toString(16)}`;
const WAYS = { in: 'read', out: 'written', inout: 'read and written' } as const;

interface Row {
  at: number;
  end: number;
  cells: readonly string[];
}

function target(field: Field, place: Place): string {
  if (isScalarType(field.type) || typeof place === 'string') return '';
  const element = ELEMENT_BYTES[field.type as keyof typeof ELEMENT_BYTES];
  const unit = element === 1 ? 'bytes' : `elements of ${element} bytes`;
  if ('behind' in place) return `${unit[0]!.toUpperCase()}${unit.slice(1)}, up to the end. `;
  const count = 'length' in place && place.length ? `${place.length.map((name) => `\`${name}\``).join(' × ')} ` : '';
  return `Address of ${count}${unit}. `;
}

function rowOf(name: string, field: Field, place: Place): Row {
  const way = WAYS[field.direction];
  const about = `${target(field, place)}${field.about.replace(', base64', '')}`;
  if (typeof place === 'string') {
    const what = place === 'text' ? 'the argument points to a string that ends with a NUL' : 'the argument itself';
    return { at: 0, end: 0, cells: ['', what, `\`${name}\``, way, about] };
  }
  if ('behind' in place)
    return { at: place.behind, end: 0, cells: [`from ${place.behind}`, '', `\`${name}\``, way, about] };
  const end = endOf(place, field.type);
  const bytes = isScalarType(field.type) ? end - place.at : POINTER_BYTES;
  return { at: place.at, end, cells: [String(place.at), String(bytes), `\`${name}\``, way, about] };
}

/** Bytes of the struct that no field has. */
function padding(rows: readonly Row[], size: number, [from, to]: readonly [number, number]): Row[] {
  const gaps: Row[] = [];
  let at = 0;
  for (const { at: next, end } of [...rows, { at: size, end: size }]) {
    const zeroed = from <= at && next <= to;
    if (next > at)
      gaps.push({
        at,
        end: next,
        cells: [String(at), String(next - at), '', zeroed ? 'written' : '', zeroed ? 'Zeroes.' : 'Not looked at.'],
      });
    at = Math.max(at, end);
  }
  return gaps;
}

function section({ name, number, fields, size, minSize, sizeField }: RequestDescriptor): string {
  const { struct, places, zeroes = [0, 0] } = STRUCTS[name] as Layout;
  const rows = Object.entries(fields).map(([field, type]) => rowOf(field, type, places[field]!));
  if (size > 0 && !rows.some(({ at }) => at === 0))
    rows.push({ at: 0, end: WIDTHS.u32, cells: ['0', '4', `\`${sizeField}\``, 'read', 'Bytes of the struct.'] });
  rows.sort((a, b) => a.at - b.at);
  const all = [
    ...rows,
    ...(size > 0
      ? padding(
          rows.filter(({ end }) => end > 0),
          size,
          zeroes,
        )
      : []),
  ].sort((a, b) => a.at - b.at);
  const least = minSize === size ? '' : `, at least ${minSize}`;
  const what = struct === null ? 'no struct' : `\`struct ${struct}\`, ${size} bytes${least}`;
  const text = `### ${name}\n\n${hex(number)}: ${what}.`;
  if (all.length === 0) return `${text} The argument is not looked at.`;
  return `${text}\n\n${table(
    ['at', 'bytes', 'field', '', 'what it is'],
    all.map(({ cells }) => cells),
  )}`;
}

export function structsPage(): string {
  return `# Structs as bytes

Made of the layouts that the service itself works with (\`npm run docs\`): what \`{"call": "ioctl", "fd", "request", "bytes"}\` takes, as
the headers of Linux lay it out on x86-64 (little endian). How to use it: [porting](porting.md).

- The first word is the size of the struct as the program says it, and decides alone how far the kernel reads. If the bytes end before that, or
  before the least that a request needs, it is EFAULT. A size below the least is EINVAL, bytes behind what the kernel knows that are
  not 0 are E2BIG (VFIO does not look at them, but for VFIO_DEVICE_BIND_IOMMUFD).
- What is _written_ is so only as far as the size reaches. Nothing else changes.
- An address is looked up in the \`memory\` that is given with the call (at most ${MAX_MEMORY_PIECES} pieces), then in the simulated process;
  EFAULT if it is in neither. \`user_va\` and \`vaddr\` of maps are addresses of the simulated process alone.
- An element of 16 bytes is a range of IOVAs: \`start\` and \`last\`, 64 bits each; one of 4 a descriptor; one of 8 a function: \`devid\` or \`group_id\`
  (32 bits), segment (16), bus and devfn (8 each).
- IOMMU_HWPT_LU_SET_PRESERVE and IOMMU_HWPT_LU_RESTORE are in no header of Linux. Their structs are ours.

${Object.entries(KINDS)
  .map(([kind, title]) => {
    const known = [...REQUESTS.values()].filter((request) => request.kind === (kind as RequestKind));
    return `## ${title}\n\n${known.map(section).join('\n\n')}`;
  })
  .join('\n\n')}
`;
}
