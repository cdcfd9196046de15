/** Commands on IOMMU groups by sysfs. */
import { notFound, ok, refused } from '../answers.ts';
import { groupView } from '../queries/groups.ts';
import type { Family, Rows } from './row.ts';

export const GROUPS: Rows<Family<'group'>> = {
  'group.type': {
    needs: 'kernel',
    run(host, { group: id, type }, { iommu }) {
      const group = iommu.groups.get(id);
      if (!group) return notFound(`group ${id}`);
      const refusal = group.setType(type);
      return refusal ? refused(refusal) : ok(groupView(host, group));
    },
  },
};
