/** HWPTs that were marked in the previous kernel, as the iommufd that came out of its session knows them. */
import type { HwptPaging } from '../../iommufd/hw-pagetable/hwpt.ts';
import type { PagingDomain } from '../domain.ts';

/**
 *   waiting -- first BIND of a device on the domain (R8) --> live -- its HWPT is destroyed --> gone
 *
 * `gone` also where no device was left on the domain at boot.
 */
export type RestoredHwpt =
  | { readonly state: 'waiting'; readonly domain: PagingDomain }
  | {
      readonly state: 'live';
      readonly domain: PagingDomain;
      readonly hwpt: HwptPaging;
      /** RESTORE has told its id (policy finish=strict asks for it). */
      readonly claimed: boolean;
    }
  | { readonly state: 'gone' };

/** By the token they were marked with. A change of state is a new record in its place. */
export type RestoredHwpts = Map<bigint, RestoredHwpt>;

/** What a retrieved iommufd knows of the previous one. */
export interface RestoredIommufd {
  session: string;
  /** Token of the iommufd in its session. */
  token: bigint;
  hwpts: RestoredHwpts;
}
