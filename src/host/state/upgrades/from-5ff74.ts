/** From engine 5ff74ded9b3ffdfa, which did not note what a kexec hands over: a host that is frozen is in no snapshot. */
import type { Upgrade } from './upgrade.ts';

export const FROM_5FF74: Upgrade = {
  from: '5ff74ded9b3ffdfa',
  to: '3fb1c6323528a821',
  step: () => undefined,
};
