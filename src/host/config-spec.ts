/**
 * Reads what the configuration space of a function is made from: the fields of its description, those that functions of its
 * class have, and the bytes of an image, with which the fields have to agree.
 */

import { defaultConfig } from '../machine/pci/default-config.ts';
import { barsOfImage, describeImage, hex16 } from '../machine/pci/image-spec.ts';
import {
  CAP,
  CLASS,
  CONVENTIONAL_BYTES,
  DEVICE,
  EXPRESS_BYTES,
  HEADER_BYTES,
  HEADER_TYPE,
  read8,
  read16,
  VENDOR,
} from '../machine/pci/registers.ts';
import type { CapabilitySpec, ConfigSpec, ExtendedCapabilitySpec, FunctionSpec } from '../machine/spec.ts';
import { type BarRequest, readBars } from './config-bars.ts';
import { checkCapabilities, checkExtended } from './config-capabilities.ts';
import { type Problem, readHex16 } from './request-values.ts';

/** The description of a configuration space. Defaults: what the image says, or what functions of its class have. */
export interface ConfigRequest {
  size?: number;
  progIf?: number;
  revision?: number;
  subsystemVendor?: string;
  subsystemDevice?: string;
  interruptPin?: number;
  bars?: BarRequest[];
  capabilities?: CapabilitySpec[];
  extendedCapabilities?: ExtendedCapabilitySpec[];
  image?: string;
}

type Described = Partial<FunctionSpec> & Pick<FunctionSpec, 'bdf'>;

const MULTIFUNCTION = 0x80;
const NO_ID = 0xffff;

/** Reads the description of a function's configuration space at `pointer`. What is wrong with it is added to `errors`. */
export function readConfig(request: ConfigRequest, of: Described, pointer: string, errors: Problem[]): ConfigSpec {
  const before = errors.length;
  const config = readFields(request, of, pointer, errors);
  if (config.size !== CONVENTIONAL_BYTES && config.size !== EXPRESS_BYTES)
    errors.push({
      pointer: `${pointer}/size`,
      reason: `must be ${CONVENTIONAL_BYTES}, or ${EXPRESS_BYTES} with PCI Express`,
    });
  if (errors.length > before) return config;
  if (request.capabilities) {
    checkCapabilities(config.capabilities, config.bars, `${pointer}/capabilities`, errors);
    if (request.size === EXPRESS_BYTES && !isExpress(config.capabilities))
      errors.push({
        pointer: `${pointer}/size`,
        reason: `without PCI Express, capability ${CAP.EXPRESS}, it is ${CONVENTIONAL_BYTES} bytes`,
      });
  }
  if (request.extendedCapabilities) checkExtended(config, `${pointer}/extendedCapabilities`, errors);
  if (request.image !== undefined && errors.length === before)
    checkImage(request, config, of, Uint8Array.fromBase64(request.image), pointer, errors);
  return config;
}

const isExpress = (capabilities: readonly CapabilitySpec[]): boolean =>
  capabilities.some(({ id }) => id === CAP.EXPRESS);

function readFields(request: ConfigRequest, of: Described, pointer: string, errors: Problem[]): ConfigSpec {
  const { bars, subsystemVendor, subsystemDevice, image, capabilities, ...said } = request;
  const usual = image === undefined ? usualConfig(request, of) : imageConfig(request, image);
  const config: ConfigSpec = { ...usual, ...said };
  if (image !== undefined) config.image = image;
  if (bars) config.bars = readBars(bars, of.bdf, `${pointer}/bars`, errors);
  if (capabilities) config.capabilities = capabilities;
  else if (image === undefined) config.capabilities = config.capabilities.filter((one) => fits(one, config));
  for (const [field, value] of Object.entries({ subsystemVendor, subsystemDevice }))
    if (value !== undefined)
      config[field as 'subsystemVendor'] = readHex16(value, `${pointer}/${field}`, errors) ?? '0000';
  return config;
}

/** Of a function without PCI Express, which its capabilities say where they are given, there are 256 bytes. */
function usualConfig({ size, capabilities }: ConfigRequest, of: Described): ConfigSpec {
  const { image: _, ...usual } = of.config ?? defaultConfig(of);
  const bytes = size ?? (isExpress(capabilities ?? usual.capabilities) ? EXPRESS_BYTES : CONVENTIONAL_BYTES);
  return { ...usual, size: bytes, extendedCapabilities: bytes > CONVENTIONAL_BYTES ? usual.extendedCapabilities : [] };
}

function imageConfig({ size }: ConfigRequest, text: string): ConfigSpec {
  const image = Uint8Array.fromBase64(text);
  const { capabilities } = describeImage(image, EXPRESS_BYTES);
  const isLong = image.length > CONVENTIONAL_BYTES || isExpress(capabilities);
  return { ...describeImage(image, size ?? (isLong ? EXPRESS_BYTES : CONVENTIONAL_BYTES)), bars: [] };
}

/** A capability that functions of the class have is left out where BARs are others, and its tables are not in them. */
function fits(capability: CapabilitySpec, { bars }: ConfigSpec): boolean {
  const found: Problem[] = [];
  checkCapabilities([capability], bars, '', found);
  return found.length === 0;
}

/** An image has to say what the fields say that are given, and its registers of BARs have to be described. */
function checkImage(
  request: ConfigRequest,
  config: ConfigSpec,
  of: Described,
  image: Uint8Array,
  pointer: string,
  errors: Problem[],
): void {
  const refuse = (field: string, reason: string) => errors.push({ pointer: `${pointer}/${field}`, reason });
  if (image.length > config.size || image.length < HEADER_BYTES)
    return void refuse('image', `must have ${HEADER_BYTES} bytes at least and ${config.size} at most`);
  if ((read8(image, HEADER_TYPE) & ~MULTIFUNCTION) !== 0)
    return void refuse('image', 'its header (byte 0x0e) is not that of an endpoint');
  const ids = { vendor: read16(image, VENDOR), device: read16(image, DEVICE), class: read16(image, CLASS) };
  for (const [field, value] of Object.entries(ids)) {
    const wanted = of[field as keyof typeof ids] ?? null;
    // Virtual functions have no ids of their own.
    if (wanted !== null && hex16(value) !== wanted && !(value === NO_ID && isVirtual(of)))
      refuse('image', `its ${field} is ${hex16(value)}, and that of the function ${wanted}`);
  }
  const inImage = describeImage(image, config.size);
  for (const field of ['progIf', 'revision', 'subsystemVendor', 'subsystemDevice', 'interruptPin'] as const)
    if (request[field] !== undefined && config[field] !== inImage[field])
      refuse(field, `the image has ${inImage[field]}`);
  for (const field of ['capabilities', 'extendedCapabilities'] as const) {
    if (!request[field]) continue;
    const differs = config[field].findIndex((one, at) => !agrees(one, inImage[field][at]));
    if (differs >= 0)
      refuse(`${field}/${differs}`, `the image has ${JSON.stringify(inImage[field][differs]) ?? 'none'}`);
    else if (config[field].length < inImage[field].length)
      refuse(field, `the image has more: ${JSON.stringify(inImage[field][config[field].length])}`);
  }
  if (!isVirtual(of)) checkImageBars(config, image, request.bars ?? [], refuse);
  if (request.capabilities) return;
  // What the image says of MSI-X has to fit the BARs as well.
  const msix = config.capabilities.filter(({ id }) => id === CAP.MSIX);
  const found: Problem[] = [];
  checkCapabilities(msix, config.bars, '', found);
  for (const { reason } of found) refuse('image', `its capability of MSI-X: ${reason}`);
}

const isVirtual = ({ sriov, physicalFunction }: Described): boolean => sriov === 'vf' || physicalFunction != null;

function agrees(given: object, found: object | undefined): boolean {
  return (
    found !== undefined &&
    Object.entries(given).every(([field, value]) => field === 'data' || value === found[field as keyof typeof found])
  );
}

/** A register that is set is a BAR of the description, and the other way round; addresses that are not given are the image's. */
function checkImageBars(
  config: ConfigSpec,
  image: Uint8Array,
  requests: readonly BarRequest[],
  refuse: (field: string, reason: string) => void,
): void {
  const inImage = barsOfImage(image);
  for (const { index, kind } of inImage)
    if (!config.bars.some((bar) => bar.index === index))
      refuse('bars', `the image has BAR ${index} of kind ${kind}: how large it is has to be said here`);
  for (const [at, bar] of config.bars.entries()) {
    const found = inImage.find(({ index }) => index === bar.index);
    const isGiven = requests[at]?.address !== undefined;
    if (found && found.kind !== bar.kind)
      refuse(`bars/${at}/kind`, `the register of the image is of kind ${found.kind}`);
    else if (bar.kind === 'rom') {
      // Linux writes the register of a ROM only where it is switched on.
      if (found && !isGiven) bar.address = found.address;
    } else if (isGiven && BigInt(bar.address) !== BigInt(found?.address ?? 0))
      refuse(`bars/${at}/address`, `the register of the image has ${found?.address ?? 'none'}`);
    else if (found && found.prefetchable !== bar.prefetchable)
      refuse(`bars/${at}/prefetchable`, `the register of the image says ${found.prefetchable}`);
    else bar.address = found?.address ?? '0x0';
  }
}
