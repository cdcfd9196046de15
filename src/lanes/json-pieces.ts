/** Large values as JSON, piece by piece: texts as large as they are take longer to make and to copy than all of their pieces. */

/** About how many characters a piece has at most; more where much of it has to be escaped. */
export const PIECE = 16 << 10;

/** How values are written. */
export interface Form {
  /** The fields of an object that are written, in their order. */
  names(object: Readonly<Record<string, unknown>>): readonly string[];
  /** The text of a value that has no more than a piece. */
  text(value: unknown): string;
}

/** As JSON.stringify writes values. */
export const PLAIN: Form = {
  names: (object) => Object.keys(object).filter((name) => object[name] !== undefined),
  text: (value) => JSON.stringify(value) ?? 'null',
};

/** Adds the text of a value, in steps of no more than about a piece. */
export function* addInPieces(value: unknown, form: Form, add: (text: string) => void): Generator<void, void> {
  if (roomLeft(value, PIECE) >= 0) add(form.text(value));
  else if (typeof value === 'string') yield* addString(value, add);
  else if (Array.isArray(value)) {
    let mark = '[';
    for (let from = 0; from < value.length; mark = ',') {
      add(mark);
      const to = endOfPiece(value, from);
      if (to === from) yield* addInPieces(value[from], form, add);
      else add(form.text(value.slice(from, to)).slice(1, -1));
      from = Math.max(to, from + 1);
      yield;
    }
    add(']');
  } else {
    const object = value as Readonly<Record<string, unknown>>;
    let mark = '{';
    for (const name of form.names(object)) {
      add(`${mark}${JSON.stringify(name)}:`);
      yield* addInPieces(object[name], form, add);
      mark = ',';
    }
    add(mark === '{' ? '{}' : '}');
  }
  yield;
}

/** Behind the last of the items from one on that make a piece together; that one itself if it is larger. */
function endOfPiece(items: readonly unknown[], from: number): number {
  let room = PIECE;
  for (let to = from; to < items.length; to++) {
    room = roomLeft(items[to], room - 4);
    if (room < 0) return to;
  }
  return items.length;
}

function* addString(text: string, add: (text: string) => void): Generator<void, void> {
  add('"');
  for (let from = 0; from < text.length; ) {
    let to = Math.min(from + PIECE, text.length);
    // Halves of a pair would be escaped.
    if (to < text.length && isFirstHalf(text.charCodeAt(to - 1))) to -= 1;
    add(JSON.stringify(text.slice(from, to)).slice(1, -1));
    from = to;
    yield;
  }
  add('"');
}

const isFirstHalf = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;

/** What is left of the room behind a value, in characters, about: negative if it has no room. It looks no further than that. */
export function roomLeft(value: unknown, room: number): number {
  if (typeof value === 'string') return room - value.length - 2;
  if (typeof value !== 'object' || value === null) return room - 4;
  let left = room - 2;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length && left >= 0; index++) left = roomLeft(value[index], left - 4);
    return left;
  }
  for (const name in value) {
    left = roomLeft((value as Record<string, unknown>)[name], left - name.length - 4);
    if (left < 0) break;
  }
  return left;
}
