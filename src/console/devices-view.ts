/** The devices of a host by their IOMMU groups; one that is opened can be bound, reset and made to do DMA. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { DeviceView, EngineView, GroupView } from '../host/views.ts';
import { domainWords } from '../timeline/page.ts';
import { shortWordsOf, stateNow } from '../timeline/states.ts';
import { count } from '../timeline/text.ts';
import { Choices } from './choices.ts';
import { ofHost } from './client.ts';
import { engineTable } from './engines.ts';
import { type Cell, type Columns, columnHeads, facts, openingRow, stateSign, tokenOf } from './parts.ts';
import type { Seen } from './seen.ts';

const choices = new Choices();

const COLUMNS: Columns = {
  kind: 'of-devices',
  names: ['Device', 'State', 'Driver', 'DMA owner', 'Domain', 'Session', 'cdev', 'Engines'],
};
/** Any name is a driver; these are known. */
const DRIVERS = ['vfio-pci', 'nvme', 'virtio-pci', 'igb', 'ixgbe', 'ice', 'mlx5_core', 'ahci', 'xhci_hcd', 'pci-stub'];

const OWNERS: Readonly<Record<NonNullable<DeviceView['owner']>, string>> = {
  kernel: 'its driver',
  luo: 'restored state',
  iommufd: 'a program',
};

export function devicesView(seen: Seen): TemplateResult {
  choices.of(seen.id);
  const { devices } = seen;
  const wanted = choices.typed('wanted').toLowerCase();
  const found = wanted === '' ? devices : devices.filter((device) => textOf(device).includes(wanted));
  const groups = Map.groupBy(found, ({ group }) => group);
  const answer = seen.answers.all<GroupView>('/groups');
  const known = new Map(answer.value?.map((group) => [group.group, group]));
  const engines = Map.groupBy(seen.engines, ({ bdf }) => bdf);
  return html`
    <div class="tools" role="group" aria-label="Which devices">
      ${choices.input('wanted', { label: 'Find', type: 'search', placeholder: 'address, name, driver, state', size: 24 })}
      <span class="soft small" role="status">${found.length} of ${count(devices.length, 'device')}, in ${count(groups.size, 'group')}</span>
    </div>
    ${answer.error === null ? nothing : html`<p class="bad" role="alert">Groups: ${answer.error.message}</p>`}
    <datalist id="drivers">${DRIVERS.map((driver) => html`<option value=${driver}></option>`)}</datalist>
    <div class="rows grouped">${columnHeads(COLUMNS)}
      ${[...groups]
        .sort(([one], [other]) => (one ?? Infinity) - (other ?? Infinity))
        .map(
          ([number, members]) => html`<div class="in-group">${groupHead(number, known.get(number ?? -1))}
          <div>${members.map((device) => row(seen, device, known.get(number ?? -1), engines.get(device.bdf) ?? []))}</div></div>`,
        )}</div>`;
}

const groupHead = (number: number | null, group: GroupView | undefined): TemplateResult =>
  html`<div><h2>${number === null ? 'No group' : `Group ${number}`}</h2>
    ${group === undefined ? nothing : html`<span class="soft">${group.type}</span>`}</div>`;

function textOf(device: DeviceView): string {
  const { bdf, name, group, driver, state, owner, cdev, liveupdate } = device;
  const parts = [bdf, name, `group ${group}`, driver, state, shortWordsOf(stateNow(device)), owner, cdev];
  return [...parts, liveupdate?.session].join(' ').toLowerCase();
}

function row(seen: Seen, device: DeviceView, group: GroupView | undefined, engines: readonly EngineView[]): Cell {
  const { bdf, name, driver, unbinding, owner, state, domain, preserved, liveupdate, cdev } = device;
  const isBroken = engines.some(({ continuous, stopped }) => !continuous || stopped !== null);
  return openingRow(COLUMNS, choices, {
    key: bdf,
    cells: [
      html`<code>${bdf}</code> <span class="soft small">${name}</span>`,
      stateSign(state),
      html`${driver ?? 'none'}${unbinding ? html` <span class="bad">unbinding</span>` : nothing}`,
      owner === null ? 'nobody' : OWNERS[owner],
      `${domainWords(domain)}${preserved ? ', preserved' : ''}`,
      liveupdate === null ? '–' : `${liveupdate.session}, token ${tokenOf(liveupdate.token)}`,
      cdev?.replace('/dev/vfio/devices/', '') ?? '–',
      engines.length === 0
        ? '–'
        : html`<span class=${isBroken ? 'bad' : ''}>${engines.length}${isBroken ? ', with a break' : ''}</span>`,
    ],
    inside: () =>
      html`${about(device, group)}${seen.isPast ? nothing : doing(seen, device)}${engines.length === 0 ? nothing : engineTable(seen, engines)}`,
  });
}

function about(device: DeviceView, group: GroupView | undefined): TemplateResult {
  const { vendor, device: id, class: kind, iommu, iommuKind, liveupdate, cdev, interruptsEnabled, resets } = device;
  const { sriov, physicalFunction, realDmaDevice } = device;
  const pairs: [string, Cell][] = [
    ['Vendor, device, class', `${vendor ?? '?'}:${id ?? '?'}, ${kind ?? '?'}`],
    ['IOMMU', iommu === null ? 'none' : `${iommu}, ${iommuKind}`],
    ['Interrupts', interruptsEnabled ? 'enabled' : 'disabled'],
    ['Resets', String(resets)],
  ];
  if (cdev !== null) pairs.push(['cdev', html`<code>${cdev}</code>`]);
  if (liveupdate !== null)
    pairs.push([
      'HWPT in the session',
      liveupdate.hwptToken === null ? 'none is marked' : `token ${tokenOf(liveupdate.hwptToken)}`,
    ]);
  if (sriov !== 'none') pairs.push(['SR-IOV', sriov]);
  if (physicalFunction !== null) pairs.push(['Physical function', physicalFunction]);
  if (realDmaDevice !== null) pairs.push(['Its DMA carries the id of', realDmaDevice]);
  if (group !== undefined) {
    const { owner, ownerCount, reserved, domain } = group;
    pairs.push(['Owner of the group', owner === null ? 'nobody' : `${OWNERS[owner]}, ${count(ownerCount, 'claim')}`]);
    pairs.push(['Domain of the group', domainWords(domain)]);
    if (reserved.length > 0)
      pairs.push([
        'Reserved IOVAs',
        reserved.map(({ start, last, type }) => `${start} to ${last} (${type})`).join(', '),
      ]);
  }
  return facts(pairs);
}

function doing({ acting, id }: Seen, { bdf, driver, canReset }: DeviceView): TemplateResult {
  const path = ofHost(id, `/devices/${bdf}`);
  const wanted = choices.typed(`driver ${bdf}`, 'vfio-pci');
  const access = choices.typed(`access ${bdf}`, 'read');
  const iova = choices.typed(`iova ${bdf}`, '0x100000000');
  const length = choices.typed(`length ${bdf}`, '0x200000');
  return html`
    <div class="tools" role="group" aria-label=${`Driver of ${bdf}`}>
      ${choices.input(`driver ${bdf}`, { label: 'Driver', first: 'vfio-pci', list: 'drivers' })}
      ${acting.button({ label: `Bind ${wanted}`, asked: { method: 'PUT', path: `${path}/driver`, body: { driver: wanted } }, isOff: wanted === '' })}
      ${
        driver === null
          ? nothing
          : acting.button<{ blocked: boolean }>({
              label: `Unbind ${driver}`,
              asked: { method: 'DELETE', path: `${path}/driver` },
              done: ({ blocked }) =>
                blocked && acting.say(`Unbind ${driver}: it waits until the last descriptor of ${bdf} is closed.`),
            })
      }
      ${acting.button({ label: 'Reset (FLR)', asked: { method: 'POST', path: `${path}/flr`, body: {} }, isOff: !canReset })}
    </div>
    <div class="tools" role="group" aria-label=${`A new engine of ${bdf}`}>
      ${choices.select(`access ${bdf}`, 'DMA', [
        ['read', 'reads'],
        ['write', 'writes'],
        ['both', 'reads and writes'],
      ])}
      ${choices.input(`iova ${bdf}`, { label: 'from IOVA', first: '0x100000000' })}
      ${choices.input(`length ${bdf}`, { label: 'length', first: '0x200000', size: 10 })}
      ${acting.button({ label: 'Start engine', asked: { method: 'POST', path: `${path}/engines`, body: { access, ranges: [{ iova, length }] } } })}
    </div>`;
}
