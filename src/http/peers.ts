/** The other threads that serve HTTP, as far as this one tells them and hears from them. */
import type { LaneNews, LaneTold } from '../lanes/messages.ts';
import { Common } from './common.ts';

export interface Peers {
  common: Common;
  tell(news: LaneNews): void;
  /** Is called with what they tell; whoever wants to know puts a function here. */
  hear(told: Exclude<LaneTold, { door: unknown }>): void;
}

/** There are none. */
export const noPeers = (): Peers => ({ common: new Common(), tell() {}, hear() {} });
