/** What lspci calls classes of functions (pci.ids), for texts that have the names without the numbers. */
const CLASSES: readonly (readonly [string, string])[] = [
  ['0000', 'Non-VGA unclassified device'],
  ['0001', 'VGA compatible unclassified device'],
  ['0100', 'SCSI storage controller'],
  ['0101', 'IDE interface'],
  ['0104', 'RAID bus controller'],
  ['0106', 'SATA controller'],
  ['0107', 'Serial Attached SCSI controller'],
  ['0108', 'Non-Volatile memory controller'],
  ['0180', 'Mass storage controller'],
  ['0200', 'Ethernet controller'],
  ['0207', 'Infiniband controller'],
  ['0208', 'Fabric controller'],
  ['0280', 'Network controller'],
  ['0300', 'VGA compatible controller'],
  ['0302', '3D controller'],
  ['0380', 'Display controller'],
  ['0400', 'Multimedia video controller'],
  ['0401', 'Multimedia audio controller'],
  ['0403', 'Audio device'],
  ['0480', 'Multimedia controller'],
  ['0500', 'RAM memory'],
  ['0501', 'FLASH memory'],
  ['0502', 'CXL'],
  ['0580', 'Memory controller'],
  ['0600', 'Host bridge'],
  ['0601', 'ISA bridge'],
  ['0604', 'PCI bridge'],
  ['0680', 'Bridge'],
  ['0700', 'Serial controller'],
  ['0701', 'Parallel controller'],
  ['0703', 'Modem'],
  ['0780', 'Communication controller'],
  ['0800', 'PIC'],
  ['0801', 'DMA controller'],
  ['0805', 'SD Host controller'],
  ['0806', 'IOMMU'],
  ['0807', 'Generic system peripheral'],
  ['0880', 'System peripheral'],
  ['0b40', 'Co-processor'],
  ['0c00', 'FireWire (IEEE 1394)'],
  ['0c03', 'USB controller'],
  ['0c04', 'Fibre Channel'],
  ['0c05', 'SMBus'],
  ['0c06', 'InfiniBand'],
  ['0c80', 'Serial bus controller'],
  ['0d11', 'Bluetooth'],
  ['0d80', 'Wireless controller'],
  ['1080', 'Encryption controller'],
  ['1101', 'Performance counters'],
  ['1180', 'Signal processing controller'],
  ['1200', 'Processing accelerators'],
  ['1300', 'Non-Essential Instrumentation'],
];

/** The class whose name a text begins with, and what comes behind the name. */
export function readClassName(text: string): { class: string; rest: string } | null {
  const lower = text.toLowerCase();
  for (const [code, name] of CLASSES) {
    if (!lower.startsWith(name.toLowerCase())) continue;
    const behind = text.slice(name.length);
    if (/^(?:$|[: ])/.test(behind)) return { class: code, rest: behind.replace(/^[: |]+/, '') };
  }
  return null;
}
