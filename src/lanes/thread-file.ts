/** Where a thread's program is: beside this file, and like it TypeScript as written, or JavaScript as packed. */
export function threadFile(name: string): URL {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`./${name}.${extension}`, import.meta.url);
}
