/** The query of LUO's sessions, outgoing and incoming. */

import type { Kernel } from '../../kernel/kernel.ts';
import { hex } from '../../machine/address.ts';
import type { SessionView } from '../views.ts';
import { aboutData, aboutFile } from './liveupdate.ts';
import { listAnswer } from './page.ts';
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
        files: files.map(({ token, handler, file }) => ({
          token: hex(token),
          handler: handler.compatible,
          state: 'preserved',
          errno: null,
          ...aboutFile(file),
        })),
      }),
    ),
    ...luo.waitingRecords.map(
      ({ name, files }): SessionView => ({
        name,
        side: 'incoming',
        state: 'waiting',
        files: files.map(({ token, compatible, data }) => ({
          token,
          handler: compatible,
          state: 'waiting',
          errno: null,
          ...aboutData(data),
        })),
      }),
    ),
    ...luo.incoming.map(
      ({ name, files, state }): SessionView => ({
        name,
        side: 'incoming',
        state,
        files: files.map(({ token, handler, file, failed, data }) => ({
          token: hex(token),
          handler: handler.compatible,
          state: failed ? 'failed' : file ? 'retrieved' : 'waiting',
          errno: failed,
          ...aboutData(data),
        })),
      }),
    ),
  ];
}

/** About how many bytes they have as JSON. */
const SESSION_BYTES = 128;
const FILE_BYTES = 160;
const HWPT_BYTES = 40;

/** Those that this kernel has made come first. */
const placeOf = ({ side, name }: SessionView): string => `${side === 'outgoing' ? 'a' : 'b'}${name}`;

export const SESSION_VIEWS: Rows<'sessions'> = {
  sessions: {
    needs: 'host',
    answer({ kernel }, query) {
      const sessions = kernel ? sessionViews(kernel) : [];
      // In pages there is an order that does not change when one is retrieved.
      if (query.limit !== undefined) sessions.sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));
      return listAnswer(query, {
        items: sessions,
        view: (session) => session,
        key: placeOf,
        size: ({ files }) =>
          files.reduce((sum, { hwpts }) => sum + FILE_BYTES + HWPT_BYTES * (hwpts?.length ?? 0), SESSION_BYTES),
      });
    },
  },
};
