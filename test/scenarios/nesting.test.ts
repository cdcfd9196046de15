/** What units of real kinds answer to nested translation, as docs/conformance.md says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1 } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';

const app = useApp();
const NEST_PARENT = 1;

/** Type and length of the data of a first-stage table (include/uapi/linux/iommufd.h). */
const KINDS = [
  { kind: 'intel-vtd', data: 1, bytes: 24 },
  { kind: 'amd-vi', data: 3, bytes: 32 },
  { kind: 'arm-smmuv3', data: 2, bytes: 16 },
];
const ARM_SMMUV3 = 1;

for (const { kind, data, bytes } of KINDS)
  test(`${kind}: nesting is the parent and no more`, async () => {
    const start = async (nesting: boolean) => {
      const host = await app.host({ iommus: [{ kind, nesting }], devices: [{ bdf: D1, driver: 'vfio-pci' }] });
      const vmm = await host.process();
      const iommufd = await vmm.open('/dev/iommu');
      const cdev = await vmm.openCdev(D1);
      return { vmm, iommufd, cdev, device: await vmm.bind(cdev, iommufd), ioas: await vmm.allocIoas(iommufd) };
    };
    const plain = await start(false);
    await expectErrno(
      'EOPNOTSUPP',
      plain.vmm.allocHwpt(plain.iommufd, plain.device, plain.ioas, { flags: NEST_PARENT }),
    );
    const { vmm, iommufd, cdev, device, ioas } = await start(true);
    const parent = await vmm.allocHwpt(iommufd, device, ioas, { flags: NEST_PARENT });
    const stage1 = { data_type: data, data_len: bytes, data: Buffer.alloc(bytes).toString('base64') };
    await expectErrno('EOPNOTSUPP', vmm.allocHwpt(iommufd, device, parent, stage1));
    const viommu = vmm.ioctl(iommufd, 'IOMMU_VIOMMU_ALLOC', { type: ARM_SMMUV3, dev_id: device, hwpt_id: parent });
    if (kind === 'amd-vi') {
      const { out_viommu_id } = await viommu;
      await expectErrno('EOPNOTSUPP', vmm.allocHwpt(iommufd, device, out_viommu_id as number, stage1));
    } else await expectErrno('EOPNOTSUPP', viommu);
    assert.equal(await vmm.attach(cdev, parent), parent, 'the parent translates by itself');
  });
