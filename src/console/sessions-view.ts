/** The live update sessions of a host with the files in them, and its paging domains. */
import { html, type TemplateResult } from 'lit-html';
import type { DomainView, SessionFileView, SessionView } from '../host/views.ts';
import { count } from '../timeline/text.ts';
import { Choices } from './choices.ts';
import { bytes, type Columns, columnHeads, fileWords, openingRow, shown, some, table, tokenOf } from './parts.ts';
import type { Seen } from './seen.ts';

const choices = new Choices();

const COLUMNS: Columns = { kind: 'of-sessions', names: ['Session', 'Side', 'State', 'Files'] };
/** No more of them, and they are open at first. */
const FEW = 8;

const SIDES: Readonly<Record<SessionView['side'], string>> = {
  outgoing: 'outgoing: for the next kernel',
  incoming: 'incoming: of the kernel before',
};
const STATES: Readonly<Record<SessionView['state'], string>> = {
  open: 'open: files can be preserved in it',
  waiting: 'waiting: nobody has retrieved it yet',
  retrieved: 'retrieved: a process holds it',
  stuck: 'stuck: it was closed unfinished, and nobody can reach it before the next reboot',
};
const FILE_STATES: Readonly<Record<SessionFileView['state'], string>> = {
  preserved: 'preserved',
  waiting: 'waiting: not retrieved yet',
  retrieved: 'retrieved',
  failed: 'failed: each retrieve answers',
};

export function sessionsView({ answers, id }: Seen): TemplateResult {
  choices.of(id);
  return html`
  <h2>Sessions</h2>
  ${shown(answers.all<SessionView>('/sessions'), (sessions) =>
    sessions.length === 0
      ? html`<p class="soft">There is no session: neither one for the next kernel, nor one of the kernel before.</p>`
      : html`<div class="rows">${columnHeads(COLUMNS)}${sessions.map((session) => row(session, sessions.length <= FEW))}</div>`,
  )}
  <h2>Paging domains</h2>
  ${shown(answers.all<DomainView>('/domains'), domainTable)}`;
}

const row = ({ name, side, state, files }: SessionView, isOpenAtFirst: boolean): TemplateResult =>
  openingRow(COLUMNS, choices, {
    key: `${side} ${name}`,
    isOpenAtFirst,
    cells: [
      html`<strong>${name}</strong>`,
      SIDES[side],
      html`<span class=${state === 'stuck' ? 'bad' : ''}>${STATES[state]}</span>`,
      count(files.length, 'file'),
    ],
    inside: () =>
      some(files, `files ${side} ${name}`, choices, (items) =>
        table(
          `Files in session ${name}`,
          ['Token', 'What it is', 'Handler', 'State'],
          items.map((file) => [
            tokenOf(file.token),
            fileWords(file),
            html`<code>${file.handler}</code>`,
            html`<span class=${file.state === 'failed' ? 'bad' : ''}>${FILE_STATES[file.state]} ${file.errno}</span>`,
          ]),
          'No file is in it.',
        ),
      ),
  });

const domainTable = (domains: readonly DomainView[]): ReturnType<typeof some> =>
  some(domains, 'domains', choices, (items) =>
    table(
      'Paging domains',
      ['Domain', 'Comes from', 'For the next kernel', 'Devices', 'Table pages', 'Page sizes', 'Aperture'],
      items.map(({ id, restored, preserved, devices, tablePages, pageSizes, aperture }) => [
        id,
        restored ? 'the kernel before: restored' : 'this kernel',
        preserved ? 'preserved' : '–',
        devices.length === 0 ? 'none' : devices.join(', '),
        tablePages,
        pageSizes.map(bytes).join(', '),
        html`<code>${aperture.start} to ${aperture.last}</code>`,
      ]),
      'There is no paging domain.',
    ),
  );
