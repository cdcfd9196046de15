/** The API to somebody whose ioctls go out as a program makes them: by number, with the bytes of the struct. */
import { REQUESTS } from '../../src/kernel/uapi/index.ts';
import { type Fields, type Packed, pack, unpack } from '../kernel/uapi/packing.ts';
import type { Api } from './api.ts';
import type { OutgoingCall, Result } from './host.ts';
import type { Json, JsonObject } from './trace.ts';

interface Sent {
  call: OutgoingCall;
  given: Packed['given'] | null;
}

const isNamed = ({ call, request }: OutgoingCall): boolean => call === 'ioctl' && REQUESTS.has(String(request));

function send(call: OutgoingCall): { sent: Sent; outgoing: Json } {
  if (!isNamed(call)) return { sent: { call, given: null }, outgoing: call };
  const { arg = {}, request, ...rest } = call;
  const { given } = pack(String(request), arg as Fields);
  const { number } = REQUESTS.get(String(request))!;
  return { sent: { call, given }, outgoing: { ...rest, request: `0x${number.toString(16)}`, ...given } as Json };
}

/** The answer as it would be by names. A refused request that has written nothing tells what it has kept. */
function receive({ call, given }: Sent, { bytes, memory = [], ...result }: Result): Result {
  if (!given) return result;
  if (result.errno !== undefined && bytes === undefined) {
    const { keeps } = REQUESTS.get(String(call.request))!;
    return keeps === undefined ? result : { ...result, arg: { [keeps]: (call.arg as JsonObject)[keeps]! } };
  }
  const then = { bytes: bytes as string, memory: memory as { address: string; bytes: string }[] };
  return { ...result, arg: unpack(String(call.request), (call.arg ?? {}) as Fields, given, then) as JsonObject };
}

export function asBytes(api: Api): Api {
  return {
    async request(method, path, body) {
      const calls = (body as { calls?: OutgoingCall[] } | undefined)?.calls;
      if (!path.endsWith('/calls') || !calls) return api.request(method, path, body);
      const both = calls.map(send);
      const answer = await api.request(method, path, {
        ...(body as JsonObject),
        calls: both.map((each) => each.outgoing),
      });
      const results = answer.body.results as Result[] | undefined;
      if (!results) return answer;
      return { ...answer, body: { results: results.map((result, index) => receive(both[index]!.sent, result)) } };
    },
  };
}
