/** All queries. One that has no row does not compile. Queries change nothing. */
import { IommufdContext } from '../../kernel/iommufd/context.ts';
import { notFound } from '../answers.ts';
import type { HostQuery } from '../command.ts';
import type { Host } from '../host.ts';
import { DEVICE_VIEWS } from './devices.ts';
import { ENGINE_VIEWS } from './engines.ts';
import { GROUP_VIEWS } from './groups.ts';
import { HOST_VIEWS } from './host.ts';
import { IOMMUFD_VIEWS } from './iommufds.ts';
import { PROCESS_VIEWS } from './processes.ts';
import type { Found, Row, Rows, View } from './row.ts';
import { SESSION_VIEWS } from './sessions.ts';

export const QUERIES: Rows<View> = {
  ...HOST_VIEWS,
  ...DEVICE_VIEWS,
  ...ENGINE_VIEWS,
  ...GROUP_VIEWS,
  ...SESSION_VIEWS,
  ...PROCESS_VIEWS,
  ...IOMMUFD_VIEWS,
};

/** Any query, with the fields that a row may need: the types of the rows make sure that it has them. */
interface Any {
  view: View;
  bdf: string;
  pid: number;
  fd: number;
}

export function answerQuery(host: Host, query: HostQuery): Found {
  const row = QUERIES[query.view] as Row<Any>;
  const given = query as HostQuery & Any;
  switch (row.needs) {
    case 'host':
      return row.answer(host, given);
    case 'function': {
      const fn = host.machine.functions.get(given.bdf);
      return fn ? row.answer(host, given, fn) : notFound(`device ${given.bdf}`);
    }
    case 'process': {
      const process = host.kernel?.processes.get(given.pid);
      return process ? row.answer(process, given, host.kernel!) : notFound(`process ${given.pid}`);
    }
    case 'iommufd': {
      const process = host.kernel?.processes.get(given.pid);
      if (!process) return notFound(`process ${given.pid}`);
      const context = process.descriptors.get(given.fd);
      if (context instanceof IommufdContext) return row.answer(context, given);
      return notFound(`iommufd ${given.fd} of process ${given.pid}`);
    }
  }
}
