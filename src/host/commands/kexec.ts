/** Commands that end a kernel and boot the next one; host.ts has the steps. */
import { refuse } from '../../kernel/errno.ts';
import { notFound, ok, refused } from '../answers.ts';
import { hostView } from '../queries/host.ts';
import type { Family, Rows } from './row.ts';

export const KEXEC: Rows<Family<'kexec'> | 'crash' | 'reset'> = {
  /** reboot(LINUX_REBOOT_CMD_KEXEC): EPERM, EBUSY, EINVAL, or the errno of the first freeze that fails (R22). */
  'kexec.freeze': {
    needs: 'kernel',
    run(host, { mode, image, kernel: next, pid }, kernel) {
      if (pid !== undefined) {
        const process = kernel.processes.get(pid);
        if (!process) return notFound(`process ${pid}`);
        if (!process.capabilities.has('CAP_SYS_BOOT'))
          return refused(refuse('EPERM', 'sys_reboot', 'reboot() needs CAP_SYS_BOOT'));
      }
      if (image === 'loading') return refused(refuse('EBUSY', 'kernel_kexec', 'a kexec_file_load is running'));
      if (image === 'none') return refused(refuse('EINVAL', 'kernel_kexec', 'no kexec image is loaded'));
      const refusal = host.freeze(kernel, mode, next);
      return refusal ? refused(refusal) : ok(hostView(host));
    },
  },
  'kexec.boot': {
    needs: 'machine',
    run(host, { handover }) {
      if (!host.pendingBoot) return refused(refuse('EINVAL', 'kexec', 'no kernel waits to be booted'));
      const handedOver = host.bootNext(handover);
      return ok({ ...hostView(host), handedOver });
    },
  },
  crash: {
    needs: 'kernel',
    run(host) {
      host.crash();
      return ok(hostView(host));
    },
  },
  reset: {
    needs: 'machine',
    run(host) {
      host.reset();
      return ok(hostView(host));
    },
  },
};
