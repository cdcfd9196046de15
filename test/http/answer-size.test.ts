/** What calls return is counted while they are made, whatever they return it for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';

const app = useApp();

const post = (path: string, body: object) =>
  app.agent.post(path).set('authorization', `Bearer ${app.key}`).send(body).timeout(60_000);

test('calls that would return too much are given up, and nothing of them has happened', async () => {
  const devices = Array.from({ length: 256 }, (_, index) => ({
    bdf: `0000:05:${(index >> 3).toString(16).padStart(2, '0')}.${index & 7}`,
    driver: 'vfio-pci',
  }));
  const { id } = (await post('/v1/hosts', { devices })).body;
  const host = `/v1/hosts/${id}`;
  await post(`${host}/processes`, {});
  const calls = `${host}/processes/1/calls`;
  const ioctl = (fd: number, request: string, arg: object) => ({ call: 'ioctl', fd, request, arg });
  await post(calls, {
    calls: [
      { call: 'open', path: '/dev/iommu' },
      { call: 'open', path: '/dev/vfio/devices/vfio0' },
      ioctl(4, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 3 }),
    ],
  });
  // Each answers all functions of the bus.
  const list = ioctl(4, 'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO', { argsz: 8192 });
  const one = await post(calls, { calls: [list] });
  assert.equal(one.body.results[0].arg.count, devices.length);
  const made = { call: 'open', path: '/dev/null' };
  const many = await post(calls, { calls: [made, ...Array.from({ length: 5000 }, () => list)] });
  assert.deepEqual([many.status, many.body.type], [413, '/problems/answer-too-large']);
  const after = await post(calls, { calls: [made] });
  // The lowest free one: that of the first call is not there.
  assert.deepEqual(after.body.results, [{ ret: 5 }]);
});
