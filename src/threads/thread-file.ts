/**
 * Where a thread's program is: beside the file that starts it (its `import.meta.url`), and like that TypeScript as written,
 * or JavaScript as packed.
 */
export function threadFile(beside: string, name: string): URL {
  const extension = beside.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`./${name}.${extension}`, beside);
}

/** The same for a thread that stands behind others (priority.ts), which is to find `program` among what it is given. */
export const threadFileBehindOthers = (beside: string, name: string): { file: URL; program: string } => ({
  file: threadFile(import.meta.url, 'behind-others'),
  program: threadFile(beside, name).href,
});
