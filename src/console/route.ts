/** What is shown stands behind the `#` of the address, so that it can be linked to: `#/hosts/h-…/timeline?at=12`. */

export const TABS = [
  'timeline',
  'devices',
  'memory',
  'processes',
  'sessions',
  'faults',
  'events',
  'preflight',
  'guide',
] as const;
export type Tab = (typeof TABS)[number];

export type Route = { page: 'hosts' } | { page: 'host'; host: string; tab: Tab; at: number | null };

export function routeOf(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#/, '').split('?', 2);
  const [, first, host, tab = 'timeline'] = path.split('/');
  if (first !== 'hosts' || host === undefined || host === '') return { page: 'hosts' };
  const at = /^at=(\d{1,15})$/.exec(query)?.[1];
  return {
    page: 'host',
    host: decoded(host),
    tab: TABS.find((one) => one === tab) ?? 'timeline',
    at: at === undefined ? null : Number(at),
  };
}

/** Anything may be typed there. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function hashOf(route: Route): string {
  if (route.page === 'hosts') return '#/hosts';
  const { host, tab, at } = route;
  return `#/hosts/${encodeURIComponent(host)}/${tab}${at === null ? '' : `?at=${at}`}`;
}

/** A host as it is now. */
export const routeTo = (host: string, tab: Tab = 'timeline'): Route => ({ page: 'host', host, tab, at: null });

export const go = (route: Route): void => {
  location.hash = hashOf(route);
};
