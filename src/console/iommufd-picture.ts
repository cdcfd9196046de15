/** An iommufd as boxes: its IOASes, the HWPTs that show them, and the devices on these. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { HwptView, IoasView, IommufdView } from '../host/views.ts';
import type { Seen } from './seen.ts';

/** HWPTs that are asked for, first those of the IOAS that is chosen; and devices that are shown of each. */
const MOST_HWPTS = 32;
const MOST_DEVICES = 16;

interface Shown {
  /** Of the iommufd, below the host. */
  path: string;
  iommufd: IommufdView;
  chosen: IoasView | null;
  choose: (ioas: number) => void;
}

export function iommufdPicture(seen: Seen, { path, iommufd, chosen, choose }: Shown): TemplateResult {
  const ids = [...new Set([...(chosen?.hwpts ?? []), ...iommufd.hwpts])];
  const hwpts = ids.slice(0, MOST_HWPTS).flatMap((id) => seen.answers.get<HwptView>(`${path}/hwpts/${id}`).value ?? []);
  const idle = iommufd.devices.filter(({ hwpt }) => hwpt === null).map(({ bdf }) => bdf);
  const orphans = hwpts.filter(({ ioas }) => ioas === null);
  const { more } = iommufd;
  const left = [
    ...(more?.ioases ? [`${more.ioases} IOASes`] : []),
    ...(ids.length + (more?.hwpts ?? 0) > MOST_HWPTS ? [`${ids.length + (more?.hwpts ?? 0) - MOST_HWPTS} HWPTs`] : []),
  ];
  const of = (ioas: number): HwptView[] => hwpts.filter((hwpt) => hwpt.ioas === ioas);
  return html`<div class="iommufd" tabindex="0" role="region" aria-label="IOASes, their HWPTs and the devices on them">
    <p class="soft small">IOAS → HWPT → device.${iommufd.preserved ? ' The iommufd is preserved.' : ''}${iommufd.restored ? ' It was retrieved from a session.' : ''}
      ${left.length === 0 ? nothing : `Not shown: ${left.join(' and ')}.`}</p>
    <ul class="iommufd-tree">
      ${iommufd.ioases.map(
        (id) =>
          html`<li><button type="button" class="iommufd-ioas" aria-pressed=${id === chosen?.ioas ? 'true' : 'false'} @click=${() => choose(id)}>IOAS ${id}</button>${branch(seen, of(id))}</li>`,
      )}
      ${orphans.length === 0 ? nothing : html`<li><span class="iommufd-box iommufd-none">without an IOAS: the mappings of the kernel before</span>${branch(seen, orphans)}</li>`}
      ${idle.length === 0 ? nothing : html`<li><span class="iommufd-box iommufd-none">bound, on no HWPT</span>${devices(seen, idle)}</li>`}
    </ul></div>`;
}

const branch = (seen: Seen, hwpts: readonly HwptView[]): TemplateResult | typeof nothing =>
  hwpts.length === 0
    ? nothing
    : html`<ul>${hwpts.map((hwpt) => html`<li>${hwptBox(hwpt)}${devices(seen, hwpt.devices)}</li>`)}</ul>`;

function hwptBox({ hwpt, type, domain, token, restored, auto, dirtyTracking }: HwptView): TemplateResult {
  const facts = [
    ...(domain === null ? [] : [`domain ${domain}`]),
    ...(type === 'nested' ? ['nested'] : []),
    ...(restored ? ['restored'] : []),
    ...(token === null ? [] : [`${restored ? '' : 'marked, '}token ${token}`]),
    ...(auto ? ['made by attaching'] : []),
    ...(dirtyTracking ? ['dirty tracking'] : []),
  ];
  return html`<span class=${restored ? 'iommufd-box iommufd-restored' : 'iommufd-box'}><strong>HWPT ${hwpt}</strong> ${facts.join(', ')}</span>`;
}

function devices(seen: Seen, bdfs: readonly string[]): TemplateResult | typeof nothing {
  if (bdfs.length === 0) return nothing;
  const stateOf = (bdf: string): string => seen.devices.find((device) => device.bdf === bdf)?.state ?? 'N';
  const left = bdfs.length - MOST_DEVICES;
  return html`<ul>${bdfs.slice(0, MOST_DEVICES).map((bdf) => {
    const state = stateOf(bdf);
    return html`<li><span class="iommufd-box">${bdf}${state === 'N' ? nothing : html` <span class=${`sign sign-${state}`}>${state}</span>`}</span></li>`;
  })}${left > 0 ? html`<li><span class="iommufd-box soft">and ${left} more</span></li>` : nothing}</ul>`;
}
