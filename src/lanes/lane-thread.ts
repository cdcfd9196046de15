/** The thread of a lane that is asked by other threads only. */
import type { Log } from '../log.ts';
import { Aside } from './aside.ts';
import type { LaneSettings, LogLine } from './messages.ts';
import { say, startLane, toldSettings } from './thread.ts';

/** Errors do not get to another thread as they are. */
function plain(details: object): object {
  const { err, ...rest } = details as { err?: unknown };
  if (!(err instanceof Error)) return details;
  return { ...rest, err: { type: err.name, message: err.message, stack: err.stack } };
}

function logAt(level: LogLine['level']): Log['info'] {
  return (details, message) => say({ level, details: plain(details), message });
}

const settings = await toldSettings<LaneSettings>();
const thread = startLane(settings, {
  log: { info: logAt('info'), warn: logAt('warn'), error: logAt('error') },
  aside: new Aside(settings.aside),
  onDamage: (found) => say({ found }),
  onNews: say,
});
thread.serve(settings.port);
say('ready');
