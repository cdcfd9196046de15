/** All routes: the service and its OpenAPI document are made of them. */
import { mayCauseHazards } from './hazards.ts';
import { OPERATION_ROUTES } from './operations.ts';
import { BAR_ROUTES } from './resources/bars.ts';
import { BATCH_ROUTES } from './resources/batch.ts';
import { DEVICE_ROUTES } from './resources/devices.ts';
import { ENGINE_ROUTES } from './resources/engines.ts';
import { EVENT_ROUTES } from './resources/events.ts';
import { FAULT_ROUTES } from './resources/faults.ts';
import { FILE_ROUTES } from './resources/files.ts';
import { GROUP_ROUTES } from './resources/groups.ts';
import { HAZARD_ROUTES } from './resources/hazards.ts';
import { HOST_LIST_ROUTES } from './resources/host-lists.ts';
import { HOST_ROUTES } from './resources/hosts.ts';
import { IOMMUFD_ROUTES } from './resources/iommufds.ts';
import { KEXEC_ROUTES } from './resources/kexec.ts';
import { KEY_ROUTES } from './resources/keys.ts';
import { PAST_ROUTES } from './resources/past.ts';
import { PROCESS_ROUTES } from './resources/processes.ts';
import { RESET_ROUTES } from './resources/reset.ts';
import { SERVICE_ROUTES } from './resources/service.ts';
import { SNAPSHOT_ROUTES } from './resources/snapshots.ts';
import { SWEEP_ROUTES } from './resources/sweep.ts';
import { TENANT_ROUTES } from './resources/tenants.ts';
import { THROW_AWAY_ROUTES } from './resources/throw-aways.ts';
import { USAGE_ROUTES } from './resources/usage.ts';
import type { Route } from './route.ts';

const ALL: readonly Route[] = [
  ...HOST_ROUTES,
  ...HOST_LIST_ROUTES,
  ...FILE_ROUTES,
  ...DEVICE_ROUTES,
  ...ENGINE_ROUTES,
  ...BAR_ROUTES,
  ...GROUP_ROUTES,
  ...PROCESS_ROUTES,
  ...IOMMUFD_ROUTES,
  ...BATCH_ROUTES,
  ...OPERATION_ROUTES,
  ...KEXEC_ROUTES,
  ...FAULT_ROUTES,
  ...SWEEP_ROUTES,
  ...EVENT_ROUTES,
  ...PAST_ROUTES,
  ...SNAPSHOT_ROUTES,
  ...HAZARD_ROUTES,
  ...THROW_AWAY_ROUTES,
  ...RESET_ROUTES,
  ...USAGE_ROUTES,
  ...KEY_ROUTES,
  ...TENANT_ROUTES,
  ...SERVICE_ROUTES,
];

export const ROUTES = ALL.map(mayCauseHazards);
