/** Reserves ranges of an IOAS, which no system call does: IOMMU_TEST_OP_ADD_RESERVED of the kernel's own tests. */

import { Refusal, refuse } from '../../kernel/errno.ts';
import { IommufdContext } from '../../kernel/iommufd/context.ts';
import { Ioas } from '../../kernel/iommufd/ioas.ts';
import { UMAX } from '../../machine/address.ts';
import { ok, refused } from '../answers.ts';
import type { Family, Rows } from './row.ts';

export const IOASES: Rows<Family<'ioas'>> = {
  'ioas.reserve': {
    needs: 'process',
    run(_host, { fd, ioas: id, start, length }, process) {
      const where = 'iommufd_test_add_reserved';
      const file = process.file(fd);
      if (file instanceof Refusal) return refused(file);
      if (!(file instanceof IommufdContext)) return refused(refuse('EBADFD', where, `descriptor ${fd} is no iommufd`));
      const first = BigInt(start);
      const bytes = BigInt(length);
      if (bytes === 0n) return refused(refuse('EINVAL', where, 'length is 0'));
      if (first + bytes - 1n > UMAX) return refused(refuse('EOVERFLOW', where, 'the range reaches beyond 64 bits'));
      const ioas = file.objects.lookup(id, Ioas, 'an IOAS');
      if (ioas instanceof Refusal) return refused(ioas);
      const refusal = ioas.iopt.reserve(first, first + bytes - 1n, {});
      return refusal ? refused(refusal) : ok({});
    },
  },
};
