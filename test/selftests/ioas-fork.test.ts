/**
 * Fixture `iommufd_ioas` of the kernel's selftests: memory that another process has mapped. A fork is not there: it
 * is a second process that has been sent the iommufd.
 */
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import type { Process } from '../support/process.ts';
import { type Ioas, setUpIoas, VARIANTS } from './ioas-setup.ts';
import { APERTURE_START, BUFFER, mapArg, PAGE } from './mock.ts';

const app = useApp();

/** The other process, which has memory of its own at this address, maps it. */
async function mapByChild({ mock, ioas }: Ioas): Promise<Process> {
  const child = await mock.host.process();
  const fd = await mock.process.sendFd(mock.iommufd, child);
  await child.mmap(BUFFER, PAGE);
  await child.ioctl(fd, 'IOMMU_IOAS_MAP', mapArg(ioas, BUFFER, PAGE, APERTURE_START));
  return child;
}

for (const variant of VARIANTS) {
  test(`iommufd_ioas.fork_gone (${variant.name})`, async () => {
    const fixture = await setUpIoas(app, variant);
    const { mock, ioas, devices } = fixture;
    const child = await mapByChild(fixture);
    await child.kill();
    // What is pinned outlives the process; what is not can no more be.
    if (devices.length > 0) await mock.attach(ioas);
    else await mock.attachRefused('EFAULT', ioas);
    await mock.closeAll();
  });

  test(`iommufd_ioas.fork_present (${variant.name})`, async () => {
    const fixture = await setUpIoas(app, variant);
    const { mock, ioas } = fixture;
    const child = await mapByChild(fixture);
    await mock.attach(ioas);
    await child.kill();
    await mock.closeAll();
  });
}
