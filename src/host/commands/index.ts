/** All commands. One that has no row does not compile. */
import { notFound } from '../answers.ts';
import type { Answer, Command } from '../command.ts';
import type { Host } from '../host.ts';
import { CLOCK } from './clock.ts';
import { DEVICES } from './devices.ts';
import { DRIVERS } from './drivers.ts';
import { ENGINES } from './engines.ts';
import { FAULTS } from './faults.ts';
import { GROUPS } from './groups.ts';
import { IOASES } from './ioases.ts';
import { KEXEC } from './kexec.ts';
import { PROCESSES } from './processes.ts';
import type { Op, Row, Rows } from './row.ts';
import { SNAPSHOTS } from './snapshots.ts';

export const COMMANDS: Rows<Op> = {
  ...PROCESSES,
  ...DEVICES,
  ...DRIVERS,
  ...GROUPS,
  ...IOASES,
  ...KEXEC,
  ...ENGINES,
  ...CLOCK,
  ...FAULTS,
  ...SNAPSHOTS,
};

/** Any command, with the fields that a row may need: the types of the rows make sure that it has them. */
interface Any {
  op: Op;
  bdf: string;
  pid: number;
}

export function perform(host: Host, command: Command): Answer {
  const row = COMMANDS[command.op] as Row<Any>;
  const given = command as Command & Any;
  const { kernel, machine } = host;
  switch (row.needs) {
    case 'machine':
      return row.run(host, given);
    case 'function': {
      const fn = machine.functions.get(given.bdf);
      return fn ? row.run(host, given, fn) : notFound(`device ${given.bdf}`);
    }
    case 'kernel':
      return kernel ? row.run(host, given, kernel) : host.withoutKernel();
    case 'kernel and function': {
      if (!kernel) return host.withoutKernel();
      const fn = machine.functions.get(given.bdf);
      return fn ? row.run(host, given, fn, kernel) : notFound(`device ${given.bdf}`);
    }
    case 'process': {
      if (!kernel) return host.withoutKernel();
      const process = kernel.processes.get(given.pid);
      return process ? row.run(host, given, process, kernel) : notFound(`process ${given.pid}`);
    }
  }
}
