/**
 * `node scripts/node.mjs ARGUMENTS…`: runs the project's own Node with these arguments, after having installed what
 * package-lock.json says if it is not there. Plain JavaScript for the Node that runs npm, which package.json names, since
 * npm puts the project's own first on the PATH. A step of its own rather than a hook (`prestart`): npm leaves hooks out
 * for those who have switched scripts of packages off.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import MEMORY from '../src/entry/memory.cjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const LINK = `${root}node_modules/.bin/node`;

/** Packages by path, or null. npm keeps the list of what it has installed in node_modules. */
function packages(path) {
  try {
    return JSON.parse(readFileSync(`${root}${path}`, 'utf8')).packages;
  } catch {
    return null;
  }
}

const wanted = packages('package-lock.json') ?? {};

/** The project's Node, or undefined: a package for each system, of which npm installs the one for this. */
function ownNode() {
  const names = Object.keys(wanted['']?.optionalDependencies ?? {});
  return names.map((name) => `node_modules/${name}/bin/node`).find((path) => existsSync(`${root}${path}`));
}

/**
 * Why an install is needed, or null. What is compared is contents: git sets the times of files as it likes. Optional
 * packages may be missing, as most of them are for other systems.
 */
function reasonToInstall() {
  const installed = packages('node_modules/.package-lock.json');
  if (!installed) return 'nothing is installed yet';
  const same = (a, b) => a.version === b.version && a.integrity === b.integrity;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '' || entry.link || (!installed[path] && entry.optional)) continue;
    if (!installed[path] || !same(entry, installed[path])) return `${path} is not what package-lock.json says`;
  }
  return ownNode() ? null : 'node_modules has no Node of its own';
}

let child = null;
let installing = false;
let stopped = null;
// Who stops this process means what it runs: nothing is left behind, and nothing more is begun. npm would first let its
// downloads end; a node_modules that is not complete is installed anew the next time.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    stopped = signal;
    child?.kill(installing ? 'SIGKILL' : signal);
  });
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

/** Resolves with how the process ended. */
function run(command, args, options) {
  return new Promise((resolve) => {
    child = spawn(command, args, { stdio: 'inherit', ...options });
    child.on('error', (error) => fail(`${command} cannot be started: ${error.message}`));
    child.on('exit', (code, signal) => resolve({ code, signal }));
  });
}

async function install() {
  // What npm would leave out by somebody's own configuration is named. Warnings are left out: that this Node is too old
  // for some packages is why the project brings its own.
  // No package needs its install script: better-sqlite3 brings its binaries, and npm would compile it all the same.
  const options = [
    'ci',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--include=dev',
    '--include=optional',
    '--loglevel=error',
  ];
  // npm's own Node rather than the one of node_modules, which is about to be removed.
  const { npm_execpath: npm, npm_node_execpath: node } = process.env;
  const [command, ...first] = node && npm?.endsWith('npm-cli.js') ? [node, npm] : ['npm'];
  installing = true;
  const end = await run(command, [...first, ...options], { cwd: root });
  installing = false;
  return stopped ? { code: null, signal: stopped } : end;
}

async function runOwnNode() {
  const node = ownNode();
  if (!node) {
    fail(
      `npm has no Node for ${process.platform} on ${process.arch} (or optional packages are switched off). ` +
        'With a Node of your own, 26 or newer: node src/main.ts --dev',
    );
  }
  // npm 10 and older leave the link out where packages for other systems have a program of the same name.
  if (!existsSync(LINK)) {
    rmSync(LINK, { force: true });
    symlinkSync(`../../${node}`, LINK);
  }
  // Where what was compiled is kept, types stripped, as the service keeps it: several hundred processes of tests read the same files.
  // And a service need not begin anew to have memory kept well.
  const env = { NODE_COMPILE_CACHE: join(tmpdir(), 'node-compile-cache'), ...MEMORY, ...process.env };
  return run(`${root}${node}`, process.argv.slice(2), { env });
}

const DONE = { code: 0, signal: null };
/** What the system's loader ends with where a library is missing; it has said which. */
const NOT_LOADED = 127;

const reason = reasonToInstall();
if (reason) console.log(`Installing the packages of package-lock.json (npm ci), because ${reason}.`);
let end = reason ? await install() : DONE;
if (end.code === 0) {
  end = await runOwnNode();
  if (end.code === NOT_LOADED) {
    fail(
      'Node 26 needs a library that is missing here. If it is libatomic.so.1, install the package libatomic1 ' +
        '(Debian, Ubuntu) or libatomic (Fedora, RHEL), and start again.',
    );
  }
}

// Ends as what it ran did.
if (end.signal === null) process.exit(end.code);
process.removeAllListeners(end.signal);
process.kill(process.pid, end.signal);
