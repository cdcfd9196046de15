/** `holdover calls`, `kexec` and `preflight`: what a host is asked to do. */
import { Option } from 'commander';
import type { HandoverView, HostEvent, PreflightView } from '../host/views.ts';
import type { CallResult } from '../kernel/uapi/calls.ts';
import { seconds } from '../timeline/text.ts';
import { EXIT, ofHost } from './client.ts';
import { acting, type Family, jsonOf, wholeNumber } from './options.ts';
import { say, show, styled, table } from './terminal.ts';

export const addLiveUpdate: Family = (program) => {
  program
    .command('calls')
    .argument('<host>')
    .argument('[file]', 'an array of calls in JSON; default: standard input', '-')
    .description('run system calls of a process')
    .option('--pid <pid>', 'of this process; default: one that is started for them', wholeNumber)
    .action(
      acting<{ pid?: number }>(async ({ client, options, args: [host, file = '-'] }) => {
        const read = await jsonOf(file);
        const body = Array.isArray(read) ? { calls: read } : read;
        const pid = options.pid ?? (await client.ask<{ pid: number }>('POST', ofHost(host!, '/processes'), {})).pid;
        const { results } = await client.ask<{ results: CallResult[] }>(
          'POST',
          ofHost(host!, `/processes/${pid}/calls`),
          body,
        );
        show(options, { pid, results }, () => {
          say(`process ${pid}`);
          for (const [index, result] of results.entries()) say(`${String(index).padStart(3)}  ${resultLine(result)}`);
        });
        if (results.some(({ errno }) => errno !== undefined)) process.exitCode = EXIT.refused;
      }),
    );
  program
    .command('kexec')
    .argument('<host>')
    .description('reboot into the next kernel')
    .addOption(new Option('--mode <mode>').choices(['live-update', 'plain']).default('live-update'))
    .action(
      acting<{ mode: string }>(async ({ client, options, args: [host] }) => {
        const answer = await client.ask<Kexec>('POST', ofHost(host!, '/kexec'), { mode: options.mode });
        show(options, answer, ({ state, kernel, handedOver, hazards = [] }) => {
          say(`kernel ${kernel}: ${state}`);
          showHandover(handedOver);
          showHazards(hazards);
        });
      }),
    );
  program
    .command('preflight')
    .argument('<host>')
    .description('tell what a kexec would do now')
    .action(
      acting(async ({ client, options, args: [host] }) => {
        const view = await client.ask<PreflightView>('GET', ofHost(host!, '/preflight'));
        show(options, view, showPreflight);
        if (view.refusal !== null || view.panic !== null) process.exitCode = EXIT.refused;
      }),
    );
};

interface Kexec {
  state: string;
  kernel: number;
  handedOver: HandoverView;
  hazards?: HostEvent[];
}

function resultLine({ ret, errno, where, why, ...more }: CallResult): string {
  if (errno !== undefined) return `${styled('red', errno)} ${where}: ${why}`;
  return [ret, ...(Object.keys(more).length === 0 ? [] : [JSON.stringify(more)])].join('  ');
}

function showPreflight({ refusal, handedOver, panic, hazards, steps }: PreflightView): void {
  if (refusal !== null) say(styled('red', `refused: ${refusal.errno} ${refusal.where}: ${refusal.why}`));
  else if (panic !== null) say(styled('red', `the next kernel would stop: ${panic}`));
  else say(styled('green', 'A kexec would be taken.'));
  if (handedOver !== null) showHandover(handedOver);
  showHazards(hazards);
  if (steps.length === 0) return;
  say('\nto do first:');
  for (const { what, rest, call } of steps) say(`  ${what}  ${styled('dim', rest ?? call ?? '')}`.trimEnd());
}

function showHandover({ mode, taken, blackout, devices, files, sessions }: HandoverView): void {
  const kept = `${sessions.length} sessions, ${files.length} files`;
  say(`${mode}, ${taken ? `handed over: ${kept}` : 'nothing handed over'}; no kernel for ${seconds(blackout)} s\n`);
  table(
    ['DEVICE', 'FATE', 'STATE', 'DOMAIN', 'WHY'],
    devices.map(({ bdf, fate, state, domain, why }) => [bdf, fate, state, domain, why]),
  );
}

function showHazards(hazards: readonly { message: string }[]): void {
  for (const { message } of hazards) say(styled('yellow', `hazard: ${message}`));
}
