/** A file that says where the service is, for whoever has started it: it is there as long as the service can be used. */
import { accessSync, constants, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import manifest from '../package.json' with { type: 'json' };
import { ConfigError } from './config.ts';

export class ReadyFile {
  readonly #path: string;
  #text = '';

  /** One that a service before has left is gone then. Throws ConfigError where no file can be there. */
  constructor(path: string) {
    this.#path = resolve(path);
    this.#attempt(() => {
      accessSync(dirname(this.#path), constants.W_OK | constants.X_OK);
      rmSync(this.#path, { force: true });
    });
  }

  /** All of it is there at once. Throws ConfigError. */
  write(url: string): void {
    const { pid } = process;
    const whole = `${this.#path}.${pid}`;
    this.#text = `${JSON.stringify({ url, pid, version: manifest.version })}\n`;
    this.#attempt(() => {
      writeFileSync(whole, this.#text);
      renameSync(whole, this.#path);
    });
  }

  /** The service stops. What another one has put there stays. */
  async remove(): Promise<void> {
    try {
      if (readFileSync(this.#path, 'utf8') === this.#text) rmSync(this.#path);
    } catch {
      // Somebody has taken it away.
    }
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      const code = (error as { code?: string }).code ?? 'unknown error';
      const what = `HOLDOVER_READY_FILE must name a file that can be written, in a directory that is there`;
      throw new ConfigError(`${what}; ${this.#path} cannot (${code}).`, { cause: error });
    }
  }
}
