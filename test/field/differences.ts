/**
 * What is expected of an answer: a part of it. null: anything. `"__null__"`: null. In an object `ok` asks whether a call
 * succeeded, and `contains` for a text anywhere in the answer.
 */
export function differences(wanted: unknown, found: unknown, where: string): string[] {
  const differs = (): string[] => [`${where}: expected ${JSON.stringify(wanted)}, found ${shown(found)}`];
  if (wanted === null || wanted === undefined) return [];
  if (wanted === '__null__') return found === null ? [] : differs();
  if (Array.isArray(wanted)) {
    if (!Array.isArray(found) || found.length < wanted.length) return differs();
    return wanted.flatMap((each, index) => differences(each, found[index], `${where}[${index}]`));
  }
  if (typeof wanted === 'object') {
    return Object.entries(wanted).flatMap(([key, value]) => {
      const fields = (found ?? {}) as Record<string, unknown>;
      if (key === 'ok' && 'ret' in fields) return (fields.ret !== -1) === value ? [] : differs();
      if (key === 'contains') return JSON.stringify(found).includes(String(value)) ? [] : differs();
      return differences(value, fields[key], `${where}.${key}`);
    });
  }
  return wanted === found ? [] : differs();
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 400);
}
