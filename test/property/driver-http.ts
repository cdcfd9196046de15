/** Runs a sequence on a host behind the HTTP API: commands and queries by the requests that stand for them. */
import type { Answer, Command, Query } from '../../src/host/command.ts';
import type { Errno } from '../../src/kernel/errno.ts';
import type { Api, ApiAnswer, Method } from '../conformance/api.ts';
import type { Json } from '../conformance/trace.ts';
import { asRequested } from '../support/raw-ioctl.ts';
import { Host, type Sequence } from './driver.ts';

interface HttpRequest {
  method: Method;
  path: string;
  body?: unknown;
}

export async function runOverHttp(api: Api, body: Record<string, unknown>, sequence: (host: Host) => Sequence) {
  const made = await api.request('POST', '/v1/hosts', body as Json);
  if (made.status !== 201) throw new Error(JSON.stringify(made));
  const base = `/v1/hosts/${made.body.id}`;
  // Page tables are nothing that the API shows.
  const running = sequence(new Host(() => null));
  for (let step = running.next(); !step.done; ) {
    const demand = step.value;
    const { method, path, body } = 'command' in demand ? ofCommand(demand.command) : ofQuery(demand.query);
    step = running.next(answerOf(await api.request(method, `${base}${path}`, body as Json)));
  }
  await api.request('DELETE', base);
}

function ofCommand(command: Command): HttpRequest {
  switch (command.op) {
    case 'calls':
      return {
        method: 'POST',
        path: `/processes/${command.pid}/calls`,
        body: { calls: command.calls.map(asRequested) },
      };
    case 'process.create':
      return { method: 'POST', path: '/processes', body: {} };
    case 'process.kill':
      return { method: 'DELETE', path: `/processes/${command.pid}` };
    case 'device.dma':
      return { method: 'POST', path: `/devices/${command.bdf}/dma`, body: { accesses: command.accesses } };
    case 'ioas.reserve': {
      const { pid, fd, ioas, start, length } = command;
      const path = `/processes/${pid}/iommufds/${fd}/ioases/${ioas}/reserved-ranges`;
      return { method: 'POST', path, body: { start, length } };
    }
    default:
      throw new Error(`sequences have no ${command.op}`);
  }
}

function ofQuery(query: Query): HttpRequest {
  const iommufd = (of: { pid: number; fd: number }): string => `/processes/${of.pid}/iommufds/${of.fd}`;
  const get = (path: string): HttpRequest => ({ method: 'GET', path });
  switch (query.view) {
    case 'host':
      return get('');
    case 'process':
      return get(`/processes/${query.pid}`);
    case 'iommufd':
      return get(iommufd(query));
    case 'ioas':
      return get(`${iommufd(query)}/ioases/${query.ioas}`);
    case 'mappings':
      return get(`${iommufd(query)}/ioases/${query.ioas}/mappings?limit=${query.limit}`);
    case 'hwpt':
      return get(`${iommufd(query)}/hwpts/${query.hwpt}`);
    case 'translation':
      return get(`/devices/${query.bdf}/translation?iova=${query.iova}&length=${query.length}`);
    default:
      throw new Error(`sequences do not ask for ${query.view}`);
  }
}

/** As the host itself would have answered. */
function answerOf({ status, body }: ApiAnswer): Answer {
  if (status < 300) return { kind: 'ok', value: Array.isArray(body.items) ? body.items : body };
  if (typeof body.errno !== 'string') throw new Error(`${status} ${JSON.stringify(body)}`);
  return { kind: 'refused', errno: body.errno as Errno, where: String(body.where), why: String(body.detail) };
}
