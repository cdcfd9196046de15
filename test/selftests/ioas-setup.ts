/** Fixture `iommufd_ioas`: an IOAS, with or without devices on it, and 16 pages of memory. */
import type { TestApp } from '../support/app.ts';
import { APERTURE_START, BUFFER, BUFFER_BYTES, Mock, type MockDevice } from './mock.ts';

export interface Variant {
  name: string;
  devices: number;
  /** One more device, which has PASIDs. */
  pasid?: boolean;
}

const NO_DOMAIN: Variant = { name: 'no_domain', devices: 0 };
const MOCK_DOMAIN: Variant = { name: 'mock_domain', devices: 1, pasid: true };
const TWO_MOCK_DOMAIN: Variant = { name: 'two_mock_domain', devices: 2 };
export const VARIANTS = [NO_DOMAIN, MOCK_DOMAIN, TWO_MOCK_DOMAIN] as const;

export interface Ioas {
  mock: Mock;
  ioas: number;
  devices: MockDevice[];
  pasidDevice: MockDevice | null;
  /** The first IOVA that works. */
  base: number;
}

export async function setUpIoas(app: TestApp, variant: Variant): Promise<Ioas> {
  const mock = await Mock.open(app);
  const ioas = await mock.allocIoas();
  await mock.process.mmap(BUFFER, BUFFER_BYTES);
  const devices: MockDevice[] = [];
  for (let i = 0; i < variant.devices; i++) devices.push(await mock.attach(ioas));
  const pasidDevice = variant.pasid ? await mock.attach(ioas, { pasid: true }) : null;
  return { mock, ioas, devices, pasidDevice, base: variant.devices > 0 ? APERTURE_START : 0 };
}
