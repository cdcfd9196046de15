/** What a VMM sets up before it maps: a host, a process with memory, an IOAS, and a device on its domain. */
import { type Client, encodeRequest } from './client.ts';

export const PAGE = 4096;
/** Where the process has its memory. */
export const MEMORY = 0x7f00_0000_0000;
/** Where the mappings begin. */
export const IOVA = 0x1_0000_0000;

export const hex = (value: number): string => `0x${value.toString(16)}`;

export interface VmmOptions {
  /** Pages of memory of the process. */
  pages: number;
  /** Whether a device is attached to the IOAS. */
  attached: boolean;
}

/** Paths and ids of what is there. */
export interface Vmm {
  hostId: string;
  host: string;
  process: string;
  iommufd: string;
  fd: number;
  ioas: number;
  /** Path of the batches of the IOAS. */
  batch: string;
}

export async function createVmm(client: Client, { pages, attached }: VmmOptions): Promise<Vmm> {
  const memory = hex(Math.max(2 ** 30, pages * PAGE * 2));
  const { id } = await client.request<{ id: string }>('POST', '/v1/hosts', { preset: 'vmm-lab', memory });
  const host = `/v1/hosts/${id}`;
  const { pid } = await client.request<{ pid: number }>('POST', `${host}/processes`, { name: 'vmm' });
  const process = `${host}/processes/${pid}`;
  const { fd } = await client.request<{ fd: number }>('POST', `${process}/iommufds`);
  const iommufd = `${process}/iommufds/${fd}`;
  const { ioas } = await client.request<{ ioas: number }>('POST', `${iommufd}/ioases`);
  if (attached) {
    const cdev = await client.request<{ fd: number }>('POST', `${process}/cdevs`, { path: '/dev/vfio/devices/vfio0' });
    await client.request('PUT', `${process}/cdevs/${cdev.fd}/iommufd`, { iommufd: fd });
    await client.request('PUT', `${process}/cdevs/${cdev.fd}/attachment`, { pageTable: ioas });
  }
  await client.request('POST', `${process}/memory`, { address: hex(MEMORY), length: hex(pages * PAGE) });
  return { hostId: id, host, process, iommufd, fd, ioas, batch: `${iommufd}/ioases/${ioas}/batch` };
}

export interface BatchAnswer {
  applied: number;
  failed: number;
}

/** The request for a batch: its body is made once. */
export function encodeBatch(client: Client, { batch }: Pick<Vmm, 'batch'>, body: Uint8Array): Buffer {
  return encodeRequest('POST', batch, client.key, body);
}

/** Sends a batch; every operation must have taken effect. */
export async function sendBatch(client: Client, request: Buffer, operations: number): Promise<void> {
  const { applied } = await client.send<BatchAnswer>(request);
  if (applied !== operations) throw new Error(`${applied} of ${operations} operations took effect`);
}
