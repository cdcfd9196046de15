/** Requests of Linux 7.3 that no descriptor here knows. They are listed so that docs/support.md names them. */
import { only, type RequestKind, type Support } from './types.ts';

export type AbsentRequest = Support & { readonly kind: RequestKind; readonly number: number };

const device = (number: number, what: string): AbsentRequest => ({
  kind: 'vfio-cdev',
  number,
  ...only('ENOTTY', `VFIO devices have no ${what}. EINVAL before BIND, as for all but that.`),
});

export const ABSENT_REQUESTS: Readonly<Record<string, AbsentRequest>> = {
  IOMMU_IOAS_NOIOMMU_GET_PA: {
    kind: 'iommufd',
    number: 0x3b95,
    ...only('ENOTTY', 'no device is used without an IOMMU.'),
  },
  VFIO_DEVICE_GET_REGION_INFO: device(0x3b6c, 'regions'),
  VFIO_DEVICE_GET_IRQ_INFO: device(0x3b6d, 'interrupts'),
  VFIO_DEVICE_SET_IRQS: device(0x3b6e, 'interrupts'),
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: device(0x3b70, 'reset of a whole slot or bus'),
  VFIO_DEVICE_PCI_HOT_RESET: device(0x3b71, 'reset of a whole slot or bus'),
  VFIO_DEVICE_IOEVENTFD: device(0x3b74, 'regions'),
  VFIO_DEVICE_FEATURE: device(0x3b75, 'optional features'),
};
