/** `holdover report`: a page for people on what has happened on a host, such as a CI keeps with a job that has failed. */
import { existsSync } from 'node:fs';
import manifest from '../../package.json' with { type: 'json' };
import type { DeviceView, EngineView, HostEvent } from '../host/views.ts';
import { type HazardKind, page, type ReportOn } from '../timeline/page.ts';
import { Client, ofHost } from './client.ts';
import { acting, type Family, type Globals, textOf, writeTo } from './options.ts';
import { serviceFor } from './run.ts';
import { say, show, withProgress } from './terminal.ts';

export const addReport: Family = (program) => {
  program
    .command('report')
    .argument('<host-or-file>', 'a host, or a file that "holdover export" has written')
    .description('write a page for people on a host: its timeline, hazards, engines and events')
    .option('--output <file>', 'where it goes; default: standard output')
    .action(
      acting<{ output?: string }>(async ({ client, options, args: [of] }) => {
        const html = await withProgress(`report on ${of}`, () =>
          existsSync(of!) ? onFile(client, options, of!) : onHost(client, of!),
        );
        const { output } = options;
        if (output === undefined) process.stdout.write(html);
        else {
          writeTo(output, html);
          show(options, { output, bytes: Buffer.byteLength(html) }, () =>
            say(`${output}: ${Buffer.byteLength(html)} bytes.`),
          );
        }
      }),
    );
};

/** Of the file a host is made, which is gone afterwards. */
async function onFile(asked: Client, options: Globals, file: string): Promise<string> {
  const body = await textOf(file);
  const { url, key, close } = await serviceFor(asked, options);
  const client = new Client({ url, key });
  try {
    const { id } = await client.ask<{ id: string }>('POST', '/v1/hosts/import', body);
    try {
      return await onHost(client, id);
    } finally {
      await client.ask('DELETE', ofHost(id));
    }
  } finally {
    await close();
  }
}

async function onHost(client: Client, id: string): Promise<string> {
  const host = await client.ask<ReportOn['host']>('GET', ofHost(id));
  const devices = await all<DeviceView>(client, ofHost(id, '/devices'));
  const engines = await whole<EngineView>(client, ofHost(id, '/engines'));
  const events = await all<HostEvent>(client, ofHost(id, '/events'));
  const hazards = await whole<HazardKind>(client, '/v1/hazards');
  return page({ host, devices, engines, events, hazards, version: manifest.version });
}

async function all<Item>(client: Client, path: string): Promise<Item[]> {
  const items: Item[] = [];
  for await (const item of client.all<Item>(path)) items.push(item);
  return items;
}

/** Of a list that has no pages. */
const whole = async <Item>(client: Client, path: string): Promise<Item[]> =>
  (await client.ask<{ items: Item[] }>('GET', path)).items;
