/** The configuration space of a device over HTTP: read, and described in what makes a device. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConfigView } from '../../src/host/views.ts';
import { useApp } from '../support/app.ts';
import { D1, E1 } from '../support/client.ts';
import { type ProblemBody, pointers } from './fixture.ts';

const app = useApp();

async function post(path: string, body: object): Promise<{ status: number; body: ProblemBody }> {
  return app.agent.post(path).set('authorization', `Bearer ${app.key}`).send(body);
}

test('a device shows its bytes, BARs and capabilities, whatever driver it is on', async () => {
  const host = await app.host();
  for (const bdf of [D1, E1]) {
    const { size, data, bars, capabilities } = (await host.request('get', `/devices/${bdf}/config`)) as ConfigView;
    const bytes = Buffer.from(data, 'base64');
    assert.deepEqual([size, bytes.length, bytes.readUInt16LE(0), bytes.readUInt16LE(2)], [4096, 4096, 0x144d, 0xa808]);
    assert.deepEqual(
      bars.map(({ index, kind, size: bytes }) => [index, kind, bytes]),
      [[0, 'mem64', '0x10000']],
    );
    assert.equal(BigInt(bars[0]!.address), BigInt(bytes.readUInt32LE(0x10) & ~0xf) & 0xffffffffn);
    assert.deepEqual(
      capabilities.map(({ id }) => id),
      [1, 5, 16, 17],
    );
  }
  await assert.rejects(host.request('get', '/devices/0000:77:00.0/config'), /404/);
});

test('a device is plugged in with the configuration space that it is given', async () => {
  const host = await app.host();
  const bytes = new Uint8Array(0x48);
  // Vendor and device, memory and ports on, capabilities at 0x40: MSI of 4 vectors and 32 bits.
  bytes.set([0x34, 0x12, 0xe8, 0x11, 0x03, 0x01, 0x10, 0x00, 0x10]);
  bytes.set([0x00, 0x00, 0x80, 0xfe], 0x10);
  bytes[0x34] = 0x40;
  bytes[0x3d] = 1;
  bytes.set([5, 0, 4], 0x40);
  const image = Buffer.from(bytes).toString('base64');
  const device = { bdf: '0000:05:00.0', vendor: '1234', device: '11e8', driver: 'vfio-pci' };
  const config = { image, bars: [{ index: 0, kind: 'mem32', size: '0x100000' }] };
  await host.request('post', '/devices', { ...device, config });
  const view = (await host.request('get', '/devices/0000:05:00.0/config')) as ConfigView;
  assert.deepEqual(view, {
    size: 256,
    data: Buffer.concat([bytes, Buffer.alloc(256 - bytes.length)]).toString('base64'),
    bars: [{ index: 0, kind: 'mem32', prefetchable: false, address: '0xfe800000', size: '0x100000' }],
    capabilities: [{ offset: 0x40, id: 5, msiVectors: 4, address64: false, maskable: false }],
    extendedCapabilities: [],
  });
  // What one device shows describes another.
  const { data, bars, ...rest } = view;
  const copied = { ...device, bdf: '0000:06:00.0', config: { image: data, bars, ...rest } };
  await host.request('post', '/devices', copied);
  assert.deepEqual(await host.request('get', '/devices/0000:06:00.0/config'), view);
});

test('what is wrong with the description of a configuration space is pointed to', async () => {
  const config = {
    bars: [
      { index: 0, kind: 'mem32', size: '0x1001' },
      { index: 7, kind: 'mem32', size: '0x1000' },
    ],
  };
  const host = await app.host();
  const outside = await post(`/v1/hosts/${host.id}/devices`, { bdf: '0000:05:00.0', config });
  assert.deepEqual([outside.status, pointers(outside.body)], [400, ['/config/bars/1/index']]);
  config.bars.pop();
  const wrong = await post(`/v1/hosts/${host.id}/devices`, { bdf: '0000:05:00.0', config });
  assert.deepEqual([wrong.status, pointers(wrong.body)], [400, ['/config/bars/0/size']]);
  const made = await post('/v1/hosts', { devices: [{ bdf: D1 }, { bdf: E1, config }] });
  assert.deepEqual([made.status, pointers(made.body)], [400, ['/devices/1/config/bars/0/size']]);
});
