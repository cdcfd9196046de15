/** Requests of /dev/liveupdate and of session files: include/uapi/linux/liveupdate.h. */
import { FULL, input, output, part, type RequestTable } from './types.ts';

const name = 'Name of the session: bytes U+0000 to U+00FF, 1 to 63 of them before the NUL.';

const DESCRIPTOR_LAST = part(
  'Linux looks for a free descriptor first, here it is the last thing that can be missing (EMFILE).',
);

export const LIVEUPDATE_REQUESTS = {
  LIVEUPDATE_IOCTL_CREATE_SESSION: {
    number: 0xba00,
    minSize: 72,
    size: 72,
    sizeField: 'size',
    tail: 'zero',
    about: 'Makes an outgoing session.',
    ...DESCRIPTOR_LAST,
    fields: { fd: output('s32', 'Descriptor of the session.'), name: input('name', name) },
  },
  LIVEUPDATE_IOCTL_RETRIEVE_SESSION: {
    number: 0xba01,
    minSize: 72,
    size: 72,
    sizeField: 'size',
    tail: 'zero',
    about: 'Takes a session that the previous kernel handed over.',
    ...DESCRIPTOR_LAST,
    fields: { fd: output('s32', 'Descriptor of the session.'), name: input('name', name) },
  },
} as const satisfies RequestTable;

export const SESSION_REQUESTS = {
  LIVEUPDATE_SESSION_PRESERVE_FD: {
    number: 0xba40,
    minSize: 16,
    size: 16,
    sizeField: 'size',
    tail: 'zero',
    about: 'Puts a descriptor into an outgoing session.',
    ...FULL,
    fields: { fd: input('s32', 'The descriptor.'), token: input('u64', 'Its name in the session.') },
  },
  LIVEUPDATE_SESSION_RETRIEVE_FD: {
    number: 0xba41,
    minSize: 16,
    size: 16,
    sizeField: 'size',
    tail: 'zero',
    about: 'Takes a descriptor out of an incoming session.',
    ...DESCRIPTOR_LAST,
    fields: { fd: output('s32', 'The descriptor.'), token: input('u64', 'Its name in the session.') },
  },
  LIVEUPDATE_SESSION_FINISH: {
    number: 0xba42,
    minSize: 8,
    size: 8,
    sizeField: 'size',
    tail: 'zero',
    about: 'Ends the restore of an incoming session.',
    ...FULL,
    fields: { reserved: input('u32', 'Must be 0.') },
  },
  LIVEUPDATE_SESSION_GET_NAME: {
    number: 0xba43,
    minSize: 72,
    size: 72,
    sizeField: 'size',
    tail: 'zero',
    about: 'The name of the session.',
    ...FULL,
    fields: { reserved: input('u32', 'Must be 0.'), name: output('name', name) },
  },
} as const satisfies RequestTable;
