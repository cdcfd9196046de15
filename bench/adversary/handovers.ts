/** Adversarial shapes of live updates: sessions, what is in them, freeze and boot, retrieve and finish. */
import { functions, GENERIC, hex, IOVA, ioctl, PAGE, type Shape, Tenant, times, Vmm } from './tenant.ts';

const SEALS = 7;
const create = (lu: number, index: number) =>
  ioctl(lu, 'LIVEUPDATE_IOCTL_CREATE_SESSION', { name: `session ${index}` });
const preserve = (session: number, fd: number, token: number) =>
  ioctl(session, 'LIVEUPDATE_SESSION_PRESERVE_FD', { fd, token });

const memfds = (tenant: Tenant, count: number): number[] =>
  tenant
    .calls(times(count, () => ({ call: 'memfd_create' as const, name: 'm', flags: 2, size: PAGE })))
    .map(({ ret }) => Number(ret));

/** A session, and as many memfds of a page that can be preserved. */
function withMemfds(count: number): { tenant: Tenant; session: number; fds: number[] } {
  const tenant = new Tenant();
  const fds = memfds(tenant, count);
  const lu = tenant.open('/dev/liveupdate');
  return { tenant, fds, session: Number(tenant.calls([create(lu, 0)])[0]!.arg!.fd) };
}

function kexec(tenant: Tenant): void {
  const { records } = tenant.host.execute({ op: 'kexec.freeze', mode: 'live-update', image: 'loaded' });
  const handover = records.find(({ kind }) => kind === 'handover');
  tenant.execute({ op: 'kexec.boot', handover: handover?.kind === 'handover' ? handover.text : null });
}

/** After a live update: a process with the device of live update open. */
function next(tenant: Tenant): { after: Tenant; lu: number } {
  const after = new Tenant(tenant.host);
  return { after, lu: after.open('/dev/liveupdate') };
}

const retrieveSession = (lu: number, index: number) =>
  ioctl(lu, 'LIVEUPDATE_IOCTL_RETRIEVE_SESSION', { name: `session ${index}` });

/** After a live update: `count` sessions that are empty, and a process that can retrieve them. */
function withIncoming(count: number): { after: Tenant; lu: number } {
  const tenant = new Tenant();
  const before = tenant.open('/dev/liveupdate');
  tenant.calls(times(count, (index) => create(before, index)));
  kexec(tenant);
  return next(tenant);
}

/** Pages of the memory that is in each domain. */
const PAGES = 64;

/** `count` devices on a HWPT each, all of them preserved with one memfd and one iommufd. */
function withDomains(count: number): Vmm {
  const vmm = new Vmm({ ...GENERIC, profile: 'persisted-domains', devices: functions(count) });
  const memory = Number(vmm.call({ call: 'memfd_create', name: 'm', flags: 2, size: PAGES * PAGE }).ret);
  vmm.call({ call: 'add_seals', fd: memory, seals: SEALS });
  const arg = { flags: 7, ioas_id: vmm.ioas, fd: memory, start: 0, length: PAGES * PAGE, iova: hex(IOVA) };
  vmm.ioctl(vmm.fd, 'IOMMU_IOAS_MAP_FILE', arg);
  const session = Number(vmm.calls([create(vmm.open('/dev/liveupdate'), 0)])[0]!.arg!.fd);
  const devices = times(count, (index) => {
    const { cdev, device } = vmm.bind(index);
    const hwpt = vmm.makeHwpt(device);
    vmm.attach(cdev, hwpt);
    vmm.ioctl(vmm.fd, 'IOMMU_HWPT_LU_SET_PRESERVE', { flags: 0, hwpt_id: hwpt, token: hwpt });
    return cdev;
  });
  vmm.calls([preserve(session, memory, 1), preserve(session, vmm.fd, 2)]);
  vmm.calls(devices.map((cdev, index) => preserve(session, cdev, 3 + index)));
  return vmm;
}

export const HANDOVERS: Shape[] = [
  {
    name: 'n sessions, made and closed',
    n: 2000,
    make(n) {
      const tenant = new Tenant();
      const lu = tenant.open('/dev/liveupdate');
      return () => {
        const made = tenant.calls(times(n, (index) => create(lu, index)));
        tenant.calls(made.map(({ arg }) => ({ call: 'close' as const, fd: Number(arg!.fd) })));
      };
    },
  },
  {
    name: 'n memfds are preserved in a session',
    n: 2000,
    make(n) {
      const { tenant, session, fds } = withMemfds(n);
      return () => tenant.calls(fds.map((fd, index) => preserve(session, fd, index)));
    },
  },
  {
    name: 'a live update with n memfds',
    n: 2000,
    make(n) {
      const { tenant, session, fds } = withMemfds(n);
      tenant.calls(fds.map((fd, index) => preserve(session, fd, index)));
      return () => kexec(tenant);
    },
  },
  {
    name: 'n memfds are retrieved and finished',
    n: 2000,
    make(n) {
      const { tenant, session, fds } = withMemfds(n);
      tenant.calls(fds.map((fd, index) => preserve(session, fd, index)));
      kexec(tenant);
      const { after, lu } = next(tenant);
      const again = Number(after.calls([retrieveSession(lu, 0)])[0]!.arg!.fd);
      return () => {
        after.calls(times(n, (token) => ioctl(again, 'LIVEUPDATE_SESSION_RETRIEVE_FD', { token })));
        after.ioctl(again, 'LIVEUPDATE_SESSION_FINISH', { reserved: 0 });
      };
    },
  },
  {
    name: 'n sessions, retrieved after a live update',
    n: 1000,
    make(n) {
      const { after, lu } = withIncoming(n);
      return () => {
        const got = after.calls(times(n, (index) => retrieveSession(lu, index)));
        after.calls(got.map(({ arg }) => ({ call: 'close' as const, fd: Number(arg!.fd) })));
      };
    },
  },
  {
    name: 'n sessions, each retrieved after a live update and closed before the next one',
    n: 1000,
    make(n) {
      const { after, lu } = withIncoming(n);
      // The lowest free descriptor is the same each time.
      const close = { call: 'close' as const, fd: lu + 1 };
      return () => after.calls(times(n, (index) => [retrieveSession(lu, index), close]).flat());
    },
  },
  {
    name: 'n HWPTs are marked',
    n: 500,
    make(n) {
      const vmm = new Vmm({ ...GENERIC, profile: 'persisted-domains' });
      const { device } = vmm.bind();
      const hwpts = times(n, () => vmm.makeHwpt(device));
      return () =>
        vmm.calls(
          hwpts.map((hwpt) => ioctl(vmm.fd, 'IOMMU_HWPT_LU_SET_PRESERVE', { flags: 0, hwpt_id: hwpt, token: hwpt })),
        );
    },
  },
  {
    name: 'a live update with n devices on n domains',
    n: 100,
    make(n) {
      const vmm = withDomains(n);
      return () => kexec(vmm);
    },
  },
  {
    name: 'n devices are adopted after a live update',
    n: 100,
    make(n) {
      const vmm = withDomains(n);
      kexec(vmm);
      for (const bdf of vmm.host.machine.functions.keys()) vmm.execute({ op: 'driver.bind', bdf, driver: 'vfio-pci' });
      const { after, lu } = next(vmm);
      return () => {
        const session = Number(after.calls([retrieveSession(lu, 0)])[0]!.arg!.fd);
        const retrieve = (token: number) => ioctl(session, 'LIVEUPDATE_SESSION_RETRIEVE_FD', { token });
        const fds = after.calls(times(n + 2, (index) => retrieve(index + 1))).map(({ arg }) => Number(arg!.fd));
        after.calls(
          fds
            .slice(2)
            .map((cdev) => ioctl(cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { argsz: 16, flags: 0, iommufd: fds[1]! })),
        );
        after.ioctl(session, 'LIVEUPDATE_SESSION_FINISH', { reserved: 0 });
      };
    },
  },
];
