/** Commands that bind and unbind drivers by sysfs. */
import { Refusal } from '../../kernel/errno.ts';
import { ok, refused } from '../answers.ts';
import { deviceView } from '../queries/devices.ts';
import type { Family, Rows } from './row.ts';

export const DRIVERS: Rows<Family<'driver'>> = {
  'driver.bind': {
    needs: 'kernel and function',
    run(host, { driver }, fn, { drivers }) {
      const refusal = drivers.bind(fn, driver);
      return refusal ? refused(refusal) : ok(deviceView(host, fn));
    },
  },
  'driver.unbind': {
    needs: 'kernel and function',
    run(_host, { driver }, fn, { drivers }) {
      const outcome = drivers.unbind(fn, driver);
      return outcome instanceof Refusal ? refused(outcome) : ok(outcome);
    },
  },
};
