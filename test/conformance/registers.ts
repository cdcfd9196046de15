/**
 * Answers that tell what registers of a device hold (suite vfio-device): they are those of the traced devices, of which only
 * the rules of vfio-pci count. So bytes of BARs are not compared, but for those of the table of MSI-X, which it hides.
 */
import type { Expectation, JsonObject, TracedCall, TracedDevice } from './trace.ts';

const REGION_SHIFT = 40n;
const ROM_REGION = 6;
const MSIX = 17;
const VECTOR_BYTES = 16;
/** Of struct vfio_region_info, and the most behind it that traces show. */
const REGION_INFO_BYTES = 32;
const MAX_SHOWN = 4096;

/** Registers of `edu` that the service has, too: what it is, and the word that is read as its complement. */
const EDU_KNOWN = 8;
const isEdu = ({ vendor, device }: TracedDevice): boolean => vendor === '0x1234' && device === '0x11e8';

export class Registers {
  readonly #traced: readonly TracedDevice[];
  /** Devices by the symbols of their descriptors. */
  readonly #devices = new Map<string, TracedDevice>();

  constructor(traced: readonly TracedDevice[]) {
    this.#traced = traced;
  }

  /** Looks at a call, of which descriptors of devices may come. */
  follow({ call, as, path, fd, request, arg }: TracedCall): void {
    if (as?.ret === undefined) return;
    const symbol = `$${as.ret}`;
    let device: TracedDevice | undefined;
    if (call === 'open') device = this.#traced.find(({ cdev }) => path === `/dev/vfio/devices/${cdev}`);
    else if (request === 'VFIO_GROUP_GET_DEVICE_FD')
      device = this.#traced.find(({ bdf }) => bdf === (arg as JsonObject).name);
    else if (call === 'dup' || call === 'send_fd') device = this.#devices.get(fd as string);
    if (device) this.#devices.set(symbol, device);
    else this.#devices.delete(symbol);
  }

  /** What counts of the two. */
  compared(call: TracedCall, expected: Expectation, got: JsonObject): [Expectation, JsonObject] {
    if (call.call === 'peek' && expected.data === undefined) return [expected, without(got, 'data')];
    if (call.request === 'VFIO_DEVICE_GET_REGION_INFO') return [expected, padded(call, got)];
    const device = this.#devices.get(call.fd as string);
    if (device === undefined) return [expected, got];
    const mask = <Answer extends JsonObject>(answer: Answer): Answer => this.#mask(device, call, answer);
    return [mask(expected as JsonObject) as Expectation, mask(got)];
  }

  /** Without the bytes that are up to the device. */
  #mask<Answer extends JsonObject>(device: TracedDevice, { call, offset }: TracedCall, answer: Answer): Answer {
    if (typeof answer.data !== 'string') return answer;
    // Without an offset it is BAR 0, at a position that is not followed.
    if (call === 'read') return { ...answer, data: '' };
    if (call !== 'pread') return answer;
    const at = BigInt(offset as string);
    const region = Number(at >> REGION_SHIFT);
    if (region > ROM_REGION) return answer;
    const {
      table_bar,
      table_offset = 0,
      msix_vectors = 0,
    } = device.capabilities?.find(({ id }) => id === MSIX) ?? ({} as JsonObject);
    const first = Number(table_offset) - Number(at & ((1n << REGION_SHIFT) - 1n));
    const end = table_bar === region ? first + Number(msix_vectors) * VECTOR_BYTES : first;
    const bytes = Buffer.from(answer.data, 'base64');
    const known = isEdu(device) && region === 0 ? EDU_KNOWN - Number(at) : 0;
    const counts = (index: number): boolean => (index >= first && index < end) || index < known;
    return { ...answer, data: bytes.map((byte, index) => (counts(index) ? byte : 0)).toString() };
  }
}

function without(answer: JsonObject, field: string): JsonObject {
  const { [field]: _, ...rest } = answer;
  return rest;
}

/** The traced program shows all up to `argsz` behind the struct, where zeros were, and nothing of a larger room. */
function padded({ arg: given }: TracedCall, got: JsonObject): JsonObject {
  const arg = got.arg as JsonObject | undefined;
  if (typeof arg?.data !== 'string') return got;
  const argsz = (given as { argsz: number }).argsz;
  if (argsz > MAX_SHOWN) return { ...got, arg: without(arg, 'data') };
  const bytes = Buffer.alloc(argsz - REGION_INFO_BYTES);
  bytes.set(Buffer.from(arg.data, 'base64'));
  return { ...got, arg: { ...arg, data: bytes.toString('base64') } };
}
