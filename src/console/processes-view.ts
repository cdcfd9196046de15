/** The processes of a host, and what they hold. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { AreaView, DescriptorView, ProcessView } from '../host/views.ts';
import { count } from '../timeline/text.ts';
import { Choices } from './choices.ts';
import { ofHost } from './client.ts';
import { bytes, type Cell, type Columns, columnHeads, facts, openingRow, shown, some, table } from './parts.ts';
import type { Seen } from './seen.ts';

const choices = new Choices();

const COLUMNS: Columns = {
  kind: 'of-processes',
  names: ['Process', 'User', 'Descriptors', 'In sessions', 'Memory', 'Locked'],
};

export function processesView(seen: Seen): TemplateResult {
  choices.of(seen.id);
  return html`
  ${seen.isPast ? nothing : starting(seen)}
  ${shown(seen.answers.all<ProcessView>('/processes'), (processes) =>
    processes.length === 0
      ? html`<p class="soft">No process lives.</p>`
      : html`<div class="rows">${columnHeads(COLUMNS)}${processes.map((process) => row(seen, process))}</div>`,
  )}`;
}

function starting({ acting, id }: Seen): TemplateResult {
  const name = choices.typed('name', 'vmm');
  const body = name === '' ? {} : { name };
  return html`<div class="tools" role="group" aria-label="A new process">
    ${choices.input('name', { label: 'Name', first: 'vmm' })}
    ${acting.button<ProcessView>({
      label: 'Start a process',
      asked: { method: 'POST', path: ofHost(id, '/processes'), body },
      done: ({ pid }) => choices.open(String(pid), true),
    })}
  </div>`;
}

function row(seen: Seen, process: ProcessView): TemplateResult {
  const { pid, name, uid, descriptors, memory, lockedBytes, more } = process;
  const inSessions = descriptors.filter(({ preservedIn }) => preservedIn !== null).length;
  const areas = memory.length + (more?.memory ?? 0);
  return openingRow(COLUMNS, choices, {
    key: String(pid),
    cells: [
      html`<strong>${pid}</strong> ${name}`,
      uid === 0 ? 'root' : String(uid),
      html`${descriptors.length + (more?.descriptors ?? 0)} <span class="soft small">${kindsOf(descriptors)}</span>`,
      inSessions === 0 ? '–' : `${inSessions}${more === undefined ? '' : ' or more'}`,
      areas === 0 ? 'none' : count(areas, 'area'),
      bytes(lockedBytes),
    ],
    inside: () => inside(seen, process),
  });
}

/** Of the first ones. */
const kindsOf = (descriptors: readonly DescriptorView[]): string =>
  [...Map.groupBy(descriptors, ({ kind }) => kind)]
    .map(([kind, { length }]) => (length === 1 ? kind : `${kind} ×${length}`))
    .join(', ');

function inside(seen: Seen, { pid, name, capabilities, descriptors, memory, more }: ProcessView): TemplateResult {
  const { answers, acting, id } = seen;
  const below = `/processes/${pid}`;
  // A process is told with its first descriptors and areas; the others are asked for where there are any.
  const all = more === undefined ? null : answers.all<DescriptorView>(`${below}/descriptors`);
  const areas = more === undefined ? null : answers.all<AreaView>(`${below}/memory`);
  return html`
    ${facts([['Capabilities', capabilities.length === 0 ? 'none' : capabilities.join(', ')]])}
    ${seen.isPast ? nothing : html`<div class="tools">${acting.button({ label: `Kill ${pid}`, asked: { method: 'DELETE', path: ofHost(id, below) }, sure: `Kill process ${pid}, ${name}?` })}</div>`}
    ${all === null ? descriptorTable(seen, pid, descriptors) : shown(all, (items) => descriptorTable(seen, pid, items))}
    ${areas === null ? memoryTable(pid, memory) : shown(areas, (items) => memoryTable(pid, items))}`;
}

const descriptorTable = (seen: Seen, pid: number, descriptors: readonly DescriptorView[]): Cell =>
  some(descriptors, `descriptors ${pid}`, choices, (items) =>
    table(
      `Descriptors of process ${pid}`,
      ['Descriptor', 'Kind', 'Link', 'In session', ...(seen.isPast ? [] : ['Action'])],
      items.map(({ fd, kind, link, preservedIn }) => [
        fd,
        kind,
        html`<code>${link}</code>`,
        preservedIn ?? '–',
        ...(seen.isPast ? [] : [closing(seen, pid, fd, kind)]),
      ]),
      'It has no descriptor open beyond 2.',
    ),
  );

const closing = ({ acting, id }: Seen, pid: number, fd: number, kind: string): TemplateResult =>
  acting.button({
    label: `Close ${fd}`,
    asked: { method: 'DELETE', path: ofHost(id, `/processes/${pid}/descriptors/${fd}`) },
    ...(kind === 'session' && {
      sure: 'Close the session? What was preserved in it is no more, or can be retrieved no more.',
    }),
  });

const memoryTable = (pid: number, memory: readonly AreaView[]): Cell =>
  memory.length === 0
    ? nothing
    : some(memory, `memory ${pid}`, choices, (items) =>
        table(
          `Memory of process ${pid}`,
          ['Address', 'Length', 'Backed by'],
          items.map(({ address, length, backing }) => [
            html`<code>${address}</code>`,
            bytes(length),
            backing === 'file' ? 'a file' : 'anonymous memory',
          ]),
          '',
        ),
      );
