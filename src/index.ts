/** What the package gives to those who import it: a service for tests. Any Node from 20 on reads this file. */
import { isNewEnough } from './own-node.ts';

export interface HoldoverOptions {
  /** TCP port on 127.0.0.1; default: 0, any that is free. */
  port?: number;
  /** Where hosts are kept; default: a temporary directory, which is gone when the service is closed. */
  dataDir?: string;
  /** The key of the tenant that there is; default: `dev-key`. */
  key?: string;
  /** Whether the service writes its log to standard output; default: false. */
  log?: boolean;
}

/** A service that runs. */
export interface Holdover extends AsyncDisposable {
  /** Such as `http://127.0.0.1:40123`. */
  readonly url: string;
  /** What requests bear: `authorization: Bearer …`. */
  readonly key: string;
  /** The key of `/v1/admin`, which makes further tenants. */
  readonly adminKey: string;
  /** Resolves when it has stopped, and nothing of it is left that would keep the process running. */
  close(): Promise<void>;
}

/**
 * Starts a service in development mode, for this machine only. It runs in threads of this process; where its Node is too old
 * for that, in a process of its own with the Node that the package brings, which ends with this one. Resolves when it serves.
 */
export async function startHoldover(options: HoldoverOptions = {}): Promise<Holdover> {
  if (isNewEnough()) return (await import('./in-process.ts')).startInProcess(options);
  return (await import('./in-child.ts')).startInChild(options);
}
