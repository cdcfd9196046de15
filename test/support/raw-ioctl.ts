/** Calls as the kernel knows them, as requests of the API. */

interface Call {
  call?: unknown;
  request?: unknown;
  [field: string]: unknown;
}

/** An ioctl by number without bytes has a name of its own in requests. */
export function asRequested<Given extends Call>(given: Given): Given {
  const { call, request, bytes, argument } = given;
  const isRaw = call === 'ioctl' && String(request).startsWith('0x') && bytes === undefined && argument === undefined;
  return isRaw ? { ...given, call: 'raw_ioctl' } : given;
}
