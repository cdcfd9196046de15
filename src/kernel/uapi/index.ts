/** The request tables: every ioctl that a descriptor of the simulated kernel knows. */
import { IOMMUFD_REQUESTS } from './iommufd.ts';
import { LIVEUPDATE_REQUESTS, SESSION_REQUESTS } from './liveupdate.ts';
import type { DecodedArg, RequestKind, RequestRow, RequestTable } from './types.ts';
import { VFIO_DEVICE_REQUESTS, VFIO_GROUP_REQUESTS } from './vfio.ts';

/** The tables by kind of file. */
const TABLES = {
  iommufd: IOMMUFD_REQUESTS,
  'vfio-cdev': VFIO_DEVICE_REQUESTS,
  'vfio-group': VFIO_GROUP_REQUESTS,
  liveupdate: LIVEUPDATE_REQUESTS,
  session: SESSION_REQUESTS,
} as const satisfies Record<RequestKind, RequestTable>;

type Tables = typeof TABLES;
type Rows = Tables['iommufd'] & Tables['vfio-cdev'] & Tables['vfio-group'] & Tables['liveupdate'] & Tables['session'];

export type RequestName = keyof Rows;
/** Names of the requests that files of a kind know. */
export type RequestNameOf<Kind extends RequestKind> = keyof Tables[Kind] & RequestName;

export type FieldsOf<Name extends RequestName> = Rows[Name]['fields'];

/** The struct of a request as its handler gets it. */
export type ArgOf<Name extends RequestName> = DecodedArg<Rows[Name]>;

export type RequestDescriptor = RequestRow & { readonly name: RequestName; readonly kind: RequestKind };

/** All requests, by name. */
export const REQUESTS: ReadonlyMap<string, RequestDescriptor> = new Map(
  Object.entries(TABLES).flatMap(([kind, table]) =>
    Object.entries(table).map(([name, row]) => [name, { ...row, name, kind } as RequestDescriptor] as const),
  ),
);

export * from './types.ts';
