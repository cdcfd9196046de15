/**
 * Where a thread's program is: beside the file that starts it (its `import.meta.url`), and like that TypeScript as written,
 * or JavaScript as packed.
 */
export function threadFile(beside: string, name: string): URL {
  const extension = beside.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`./${name}.${extension}`, beside);
}
