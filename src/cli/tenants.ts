/** `holdover tenants`: who may use the service. */
import { type Command, Option } from 'commander';
import { Client, EXIT, Failure } from './client.ts';
import { acting, type Family } from './options.ts';
import { note, say, show, table } from './terminal.ts';

interface Tenant {
  id: string;
  name: string;
  created: string;
}

interface AdminOptions {
  adminKey?: string;
}

const withAdminKey = (command: Command): Command =>
  command.addOption(new Option('--admin-key <key>', 'that of the administration').env('HOLDOVER_ADMIN_KEY'));

export const addTenants: Family = (program) => {
  const tenants = program.command('tenants').description('list and make tenants');
  withAdminKey(tenants.command('list', { isDefault: true }).description('list tenants')).action(
    acting<AdminOptions>(async ({ options }) => {
      const rows: Tenant[] = [];
      for await (const row of adminOf(options).all<Tenant>('/v1/admin/tenants')) rows.push(row);
      show(options, rows, () =>
        table(
          ['TENANT', 'NAME', 'MADE'],
          rows.map(({ id, name, created }) => [id, name, created]),
        ),
      );
    }),
  );
  withAdminKey(
    tenants
      .command('create')
      .argument('<name>')
      .description('make a tenant, and print its key, which is shown only now'),
  ).action(
    acting<AdminOptions>(async ({ options, args: [name] }) => {
      const made = await adminOf(options).ask<Tenant & { key: string }>('POST', '/v1/admin/tenants', { name });
      show(options, made, ({ id, key }) => {
        note(`${name} is ${id}. Its key:`);
        say(key);
      });
    }),
  );
};

function adminOf({ url, adminKey }: AdminOptions & { url: string }): Client {
  if (adminKey !== undefined) return new Client({ url, key: adminKey });
  throw new Failure(
    EXIT.usage,
    'This needs the key that the service was started with as HOLDOVER_ADMIN_KEY: say it with --admin-key or that variable.',
  );
}
