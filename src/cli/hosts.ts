/** `holdover hosts`, `clone`, `export` and `import`: which hosts there are, and where they come from and go. */
import type { DeviceView, HostView } from '../host/views.ts';
import { seconds } from '../timeline/text.ts';
import { ofHost } from './client.ts';
import { acting, type Family, jsonOf, textOf, wholeNumber, writeTo } from './options.ts';
import { note, say, show, table, withProgress } from './terminal.ts';

interface HostRow {
  id: string;
  name: string | null;
  created: string;
  diverged: object | null;
  damage: object | null;
  setAside: object | null;
}

type Made = HostView & HostRow & { devices: DeviceView[]; notes: { text: string | null; note: string }[] };

export const addHosts: Family = (program) => {
  const hosts = program.command('hosts').description('list, show, make and delete hosts');
  hosts
    .command('list', { isDefault: true })
    .description('list hosts')
    .action(
      acting(async ({ client, options }) => {
        const rows: HostRow[] = [];
        for await (const row of client.all<HostRow>('/v1/hosts')) rows.push(row);
        show(options, rows, () => {
          if (rows.length === 0) say('There is no host yet. "holdover hosts create" makes one.');
          else
            table(
              ['HOST', 'NAME', 'MADE', 'STATE'],
              rows.map((row) => [row.id, row.name, row.created, stateOf(row)]),
            );
        });
      }),
    );
  hosts
    .command('show')
    .argument('<host>')
    .description('show a host and its devices')
    .action(
      acting(async ({ client, options, args: [host] }) => {
        const view = await client.ask<HostView & HostRow>('GET', ofHost(host!));
        const devices: DeviceView[] = [];
        for await (const device of client.all<DeviceView>(ofHost(host!, '/devices'))) devices.push(device);
        show(options, { ...view, devices }, showHost);
      }),
    );
  hosts
    .command('create')
    .description('make a host')
    .option('--preset <name>', 'a machine that is ready to use; default: vmm-lab, if no file is given')
    .option('--file <file>', 'a description in JSON, such as "holdover capture" prints; - is standard input')
    .option('--name <name>', 'what it is called')
    .action(
      acting<{ preset?: string; file?: string; name?: string }>(async ({ client, options }) => {
        const { preset, file, name } = options;
        const described = file === undefined ? { preset: 'vmm-lab' } : ((await jsonOf(file)) as object);
        const body = { ...described, ...(preset && { preset }), ...(name && { name }) };
        show(options, await client.ask<Made>('POST', '/v1/hosts', body), showMade);
      }),
    );
  hosts
    .command('delete')
    .argument('<host...>')
    .description('delete hosts')
    .action(
      acting(async ({ client, options, args }) => {
        for (const host of args) await client.ask('DELETE', ofHost(host));
        show(options, { deleted: args }, () => say(`${args.join(', ')}: deleted.`));
      }),
    );
  addCopies(program);
};

const addCopies: Family = (program) => {
  program
    .command('clone')
    .argument('<host>')
    .description('make another host that is exactly the same')
    .option('--at <sequence>', 'as it was behind this command', wholeNumber)
    .option('--name <name>', 'what it is called')
    .action(
      acting<{ at?: number; name?: string }>(async ({ client, options, args: [from] }) => {
        const { at, name } = options;
        show(options, await client.ask<Made>('POST', '/v1/hosts', { from, at, name }), showMade);
      }),
    );
  program
    .command('export')
    .argument('<host>')
    .argument('[file]', 'default: HOST.json; - is standard output')
    .description('save a host as a file')
    .option('--without-memory', 'leave out what is in the simulated memory')
    .action(
      acting<{ withoutMemory?: true }>(async ({ client, options, args: [host, file = `${host}.json`] }) => {
        const path = ofHost(host!, `/export${options.withoutMemory ? '?without=memory' : ''}`);
        const bytes = await withProgress(`export of ${host}`, async (tell) => {
          const { body } = await client.open('GET', path);
          const chunks: Uint8Array[] = [];
          let length = 0;
          for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
            length += chunk.length;
            tell(`${(length / 2 ** 20).toFixed(1)} MiB`);
            chunks.push(chunk);
          }
          return Buffer.concat(chunks);
        });
        if (file === '-') process.stdout.write(bytes);
        else {
          writeTo(file, bytes);
          show(options, { host, file, bytes: bytes.length }, () => say(`${file}: ${bytes.length} bytes.`));
        }
      }),
    );
  program
    .command('import')
    .argument('<file>', '- is standard input')
    .description('make a host of a file')
    .action(
      acting(async ({ client, options, args: [file] }) => {
        const body = await textOf(file!);
        const made = await withProgress(`import of ${file}`, () => client.ask<Made>('POST', '/v1/hosts/import', body));
        show(options, made, showMade);
      }),
    );
};

function stateOf({ damage, setAside, diverged }: HostRow): string {
  if (damage !== null) return 'damaged';
  if (setAside !== null) return 'set aside';
  return diverged === null ? 'ok' : 'diverged';
}

/** The id alone on standard output, so that a script can take it. */
function showMade({ id, devices, notes }: Made): void {
  say(id);
  note(`${devices.length} devices.`);
  for (const { note: about } of notes) note(about);
}

function showHost(host: HostView & HostRow & { devices: DeviceView[] }): void {
  const { id, name, state, kernel, liveupdateNumber, profile, memory, time, devices } = host;
  table(
    ['HOST', 'NAME', 'STATE', 'KERNEL', 'LIVE UPDATES', 'PROFILE', 'FREE MEMORY', 'TIME'],
    [[id, name, state, kernel, liveupdateNumber, profile, memory.free, seconds(time)]],
  );
  say('');
  table(
    ['DEVICE', 'GROUP', 'DRIVER', 'STATE', 'CDEV', 'NAME'],
    devices.map((device) => [device.bdf, device.group, device.driver, device.state, device.cdev, device.name]),
  );
}
