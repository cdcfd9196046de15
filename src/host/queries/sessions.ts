/** The query of LUO's sessions, outgoing and incoming. */

import type { Kernel } from '../../kernel/kernel.ts';
import { hex } from '../../machine/address.ts';
import { ok } from '../answers.ts';
import type { SessionView } from '../views.ts';
import type { Rows } from './row.ts';

function sessionViews(kernel: Kernel): SessionView[] {
  const { luo } = kernel;
  if (!luo) return [];
  return [
    ...luo.outgoing.map(
      ({ name, files }): SessionView => ({
        name,
        side: 'outgoing',
        state: 'open',
        files: files.map(({ token, handler }) => ({
          token: hex(token),
          handler: handler.compatible,
          state: 'preserved',
          errno: null,
        })),
      }),
    ),
    ...luo.waitingRecords.map(
      ({ name, files }): SessionView => ({
        name,
        side: 'incoming',
        state: 'waiting',
        files: files.map(({ token, compatible }) => ({ token, handler: compatible, state: 'waiting', errno: null })),
      }),
    ),
    ...luo.incoming.map(
      ({ name, files, state }): SessionView => ({
        name,
        side: 'incoming',
        state,
        files: files.map(({ token, handler, file, failed }) => ({
          token: hex(token),
          handler: handler.compatible,
          state: failed ? 'failed' : file ? 'retrieved' : 'waiting',
          errno: failed,
        })),
      }),
    ),
  ];
}

export const SESSION_VIEWS: Rows<'sessions'> = {
  sessions: { needs: 'host', answer: ({ kernel }) => ok(kernel ? sessionViews(kernel) : []) },
};
