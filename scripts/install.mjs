/**
 * Before `npm start` and `npm test`: installs what the lockfile says if it is not there. Plain JavaScript for whatever
 * Node runs npm: the project's own Node (the package `node`) may be among the things to be installed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Packages by path, or null. npm keeps the list of what it has installed in node_modules. */
function packages(path) {
  try {
    return JSON.parse(readFileSync(`${root}${path}`, 'utf8')).packages;
  } catch {
    return null;
  }
}

/**
 * Why an install is needed, or null. What is compared is contents: git sets the times of files as it likes. Optional
 * packages may be missing, as most of them are for other systems.
 */
function reasonToInstall() {
  const wanted = packages('package-lock.json');
  const installed = packages('node_modules/.package-lock.json');
  if (!wanted) return null;
  if (!installed) return 'nothing is installed yet';
  const same = (a, b) => a.version === b.version && a.integrity === b.integrity;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '' || entry.link || (!installed[path] && entry.optional)) continue;
    if (!installed[path] || !same(entry, installed[path])) return `${path} is not what package-lock.json says`;
  }
  return existsSync(`${root}node_modules/.bin/node`) ? null : 'node_modules has no Node of its own';
}

function install() {
  // Warnings are left out: that this Node is too old for some packages is why the project brings its own.
  const options = ['ci', '--no-audit', '--no-fund', '--include=dev', '--loglevel=error'];
  // npm's own Node rather than the one of node_modules, which is about to be removed.
  const { npm_execpath: npm, npm_node_execpath: node } = process.env;
  const [command, ...first] = node && npm?.endsWith('npm-cli.js') ? [node, npm] : ['npm'];
  return spawnSync(command, [...first, ...options], { cwd: root, stdio: 'inherit' });
}

const reason = reasonToInstall();
if (reason) {
  console.log(`Installing the packages of package-lock.json (npm ci), because ${reason}.`);
  const { status, error } = install();
  if (error) console.error(`npm could not be started: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
  if (!existsSync(`${root}node_modules/.bin/node`)) {
    console.error(
      'The package "node", which brings the Node that the project needs, is not complete: npm has to be allowed to ' +
        'run its install script (see "allowScripts" in package.json; ignore-scripts must be off).',
    );
    process.exit(1);
  }
}
