/** Operations as both faces of the API name them, for sentences that say what to do: REST, and the call or request it performs. */
export interface Face {
  readonly rest: string;
  readonly call: string;
}

export const FACES = {
  bindDriver: { rest: 'PUT …/devices/{bdf}/driver', call: 'driver_override and bind in sysfs' },
  bindIommufd: { rest: 'PUT …/cdevs/{fd}/iommufd', call: 'VFIO_DEVICE_BIND_IOMMUFD' },
  attach: { rest: 'PUT …/cdevs/{fd}/attachment', call: 'VFIO_DEVICE_ATTACH_IOMMUFD_PT' },
  disableInterrupts: { rest: 'POST …/cdevs/{fd}/interrupts/{irq}', call: 'VFIO_DEVICE_SET_IRQS' },
  switchInterrupts: { rest: 'PATCH …/devices/{bdf}', call: 'interruptsEnabled' },
  addSeals: { rest: 'POST …/memfds/{fd}/seals', call: 'add_seals' },
  mapFile: { rest: 'POST …/ioases/{ioas}/file-mappings', call: 'IOMMU_IOAS_MAP_FILE' },
  makeHwpt: { rest: 'POST …/iommufds/{fd}/hwpts', call: 'IOMMU_HWPT_ALLOC' },
  markHwpt: { rest: 'PUT …/hwpts/{hwpt}/token', call: 'IOMMU_HWPT_LU_SET_PRESERVE' },
  createSession: { rest: 'POST …/liveupdates/{fd}/sessions', call: 'LIVEUPDATE_IOCTL_CREATE_SESSION' },
  retrieveSession: { rest: 'POST …/liveupdates/{fd}/retrievals', call: 'LIVEUPDATE_IOCTL_RETRIEVE_SESSION' },
  preserve: { rest: 'POST …/sessions/{fd}/files', call: 'LIVEUPDATE_SESSION_PRESERVE_FD' },
  retrieve: { rest: 'POST …/sessions/{fd}/files/{token}/retrieve', call: 'LIVEUPDATE_SESSION_RETRIEVE_FD' },
  finish: { rest: 'POST …/sessions/{fd}/finish', call: 'LIVEUPDATE_SESSION_FINISH' },
} as const satisfies Readonly<Record<string, Face>>;

/** Both, for the middle of a sentence. */
export const both = (name: keyof typeof FACES): string => `${FACES[name].rest}, ${FACES[name].call}`;
