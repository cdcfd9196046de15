/** `holdover capture`: this machine, as a description that hosts are made of. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { EXIT, Failure } from './client.ts';
import { acting, type Family } from './options.ts';
import { note, say } from './terminal.ts';

const GROUPS = '/sys/kernel/iommu_groups';
const FUNCTIONS = '/sys/bus/pci/devices';

export const addCapture: Family = (program) => {
  program
    .command('capture')
    .description('print this machine as a description for "holdover hosts create --file" (Linux)')
    .action(
      acting(async () => {
        const functions = outputOfLspci() ?? sysfsFunctions();
        if (functions === '')
          throw new Failure(EXIT.refused, `This machine shows no PCI functions: nothing is in ${FUNCTIONS}.`);
        const groups = groupLinks();
        if (groups.length === 0)
          note(`A machine without an IOMMU, as nothing is in ${GROUPS}: is it off in the firmware or in the kernel?`);
        say(JSON.stringify(describeMachine(groups, functions), null, 2));
      }),
    );
};

/** The body of `POST /v1/hosts`. `groups`: paths of functions in sysfs; `functions`: what `lspci -Dnnk` prints. */
export function describeMachine(groups: readonly string[], functions: string): object {
  const topology = { text: [...groups, functions].join('\n') };
  return groups.length === 0 ? { iommus: [], topology } : { topology };
}

function groupLinks(): string[] {
  return list(GROUPS).flatMap((group) =>
    list(`${GROUPS}/${group}/devices`).map((device) => `${GROUPS}/${group}/devices/${device}`),
  );
}

/** As printed; null: there is none. */
function outputOfLspci(): string | null {
  try {
    return execFileSync('lspci', ['-Dnnk'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    note('The names of functions are left out, as there is no lspci: install pciutils to have them.');
    return null;
  }
}

/** What lspci prints for functions that it has no names for. */
function sysfsFunctions(): string {
  return list(FUNCTIONS)
    .map((bdf) => {
      const of = (file: string): string => readFileSync(`${FUNCTIONS}/${bdf}/${file}`, 'utf8').trim().slice(2);
      const head = `${bdf} Class [${of('class').slice(0, 4)}]: Device [${of('vendor')}:${of('device')}]`;
      const driver = driverOf(bdf);
      return driver === undefined ? `${head}\n` : `${head}\n\tKernel driver in use: ${driver}\n`;
    })
    .join('');
}

function driverOf(bdf: string): string | undefined {
  try {
    return basename(readlinkSync(`${FUNCTIONS}/${bdf}/driver`));
  } catch {
    return undefined;
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
