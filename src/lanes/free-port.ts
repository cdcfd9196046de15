/** Whether a port is free, which is not found out by those who share it. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { CannotListen } from './messages.ts';

/** The port, or one that is free where that is 0; else why not. */
export async function freePort(host: string, port: number): Promise<{ port: number } | CannotListen> {
  const server = createServer();
  try {
    server.listen({ host, port });
    await once(server, 'listening');
    const { port: own } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    return { port: own };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return { code, message };
  }
}
