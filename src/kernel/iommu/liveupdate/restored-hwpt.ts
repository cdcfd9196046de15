/** The state of HWPTs that were marked in the previous kernel, as the iommufd that came out of its session has it. */
import type { HwptPaging } from '../../iommufd/hw-pagetable/hwpt.ts';
import type { PagingDomain } from '../domain.ts';

/**
 *   waiting -- first BIND of a device on the domain (R8) --> live -- its HWPT is destroyed --> gone
 *
 * `gone` from the start if no device was left on the domain at boot.
 */
export type RestoredHwpt =
  | { readonly state: 'waiting'; readonly domain: PagingDomain }
  | {
      readonly state: 'live';
      readonly domain: PagingDomain;
      readonly hwpt: HwptPaging;
      /** IOMMU_HWPT_LU_RESTORE has returned its id; the policy finish=strict asks for that. */
      readonly claimed: boolean;
    }
  | { readonly state: 'gone' };

/** HWPTs by the token that they were marked with. A change of state replaces the record. */
export type RestoredHwpts = Map<bigint, RestoredHwpt>;

/** What a retrieved iommufd knows of the previous one. */
export interface RestoredIommufd {
  session: string;
  /** Token of the iommufd in its session. */
  token: bigint;
  hwpts: RestoredHwpts;
}
