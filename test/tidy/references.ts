/** What comments and pages refer to is there: files, links, scripts and rules. */
import path from 'node:path';
import type { Remark, Repository } from './repository.ts';

const CODE = ['src/', 'test/', 'bench/', 'scripts/'];
const PAGES = ['docs/', 'src/', 'README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md'];

/** A file of the repository by its name. Linux's, which end with .c, .h and .rst, are not looked for. */
const FILE = /(?:[\w.*-]+\/)*[\w*-][\w.*-]*\.(?:ts|mjs|md|sql|sh)\b/g;
const LINK = /\]\(([^)\s]+)\)/g;
const SCRIPT = /\bnpm run ([\w:-]+)/g;
const RULE = /\b[RC]\d{1,2}\b/g;
/** Paths of somebody's machine; `node` is the user of the image. */
const MACHINE_PATH = /(?:^|[\s"'`(])(\/(?:work|home|root|Users|mnt)\/(?!node\b)[\w./-]+)/g;
/** A part of a text that numbers its parts: whoever reads it here has to have it. */
const SECTION = /\b(?:section|chapter) \d+/gi;

export function checkReferences(repository: Repository): string[] {
  const known = [...repository.files.keys()];
  const scripts = Object.keys((JSON.parse(repository.text('package.json')) as { scripts: object }).scripts);
  const rules = new Set([...repository.text('docs/rules.md').matchAll(/^\| ([RC]\d+) \|/gm)].map(([, rule]) => rule!));
  const findings: string[] = [];
  const each = (remark: Remark, pattern: RegExp, judge: (found: string) => string | undefined): void => {
    for (const match of remark.text.matchAll(pattern)) {
      const wrong = judge(match[1] ?? match[0]);
      if (wrong !== undefined) findings.push(`${remark.at} ${wrong}`);
    }
  };
  for (const file of [...repository.paths(CODE, '.ts', '.mjs', '.sh'), ...repository.paths(PAGES, '.md')])
    for (const remark of repository.remarks(file)) {
      each(remark, FILE, (name) =>
        remark.code || known.some((path) => isNamed(path, name))
          ? undefined
          : `names ${name}, which the repository does not have: say here, or in the README of the room, what it says`,
      );
      each(remark, SCRIPT, (name) =>
        scripts.includes(name) ? undefined : `names npm run ${name}, which package.json does not have`,
      );
      each(remark, MACHINE_PATH, (name) => `names ${name}, a path of one machine: no other one has it; leave it out`);
      each(
        remark,
        SECTION,
        (name) => `refers to ${name} of something: name the function of Linux, or say what it says`,
      );
      if (file.startsWith('src/kernel/'))
        each(remark, RULE, (rule) =>
          rules.has(rule) ? undefined : `names rule ${rule}, which docs/rules.md does not have`,
        );
      if (file.endsWith('.md'))
        each(remark, LINK, (link) =>
          isThere(known, file, link) ? undefined : `links ${link}, which is not there: name it as this page has to`,
        );
    }
  return findings;
}

/** Whether a path ends with a name, folder by folder. `*` in a name stands for a part of one. */
function isNamed(file: string, relative: string): boolean {
  const name = relative.replace(/^(?:\.{1,2}\/)+/, '');
  if (!name.includes('*')) return file === name || file.endsWith(`/${name}`);
  return path.posix.matchesGlob(file, name) || path.posix.matchesGlob(file, `**/${name}`);
}

function isThere(known: readonly string[], page: string, link: string): boolean {
  if (/^(?:https?:|mailto:|#)/.test(link)) return true;
  const target = path.posix.join(path.posix.dirname(page), link.split('#')[0]!);
  return known.some((file) => file === target || file.startsWith(`${target.replace(/\/$/, '')}/`));
}
