import type { Log } from '../router/alerts.ts';

const line = (details: object, message: string): string =>
  JSON.stringify({ name: 'crossfade', ...details, message });

/** Warnings and errors as lines of JSON, as Workers' logs take them apart. */
export const consoleLog: Log = {
  info: () => undefined,
  // oxlint-disable-next-line no-console -- a Worker has no other log
  warn: (details, message) => console.warn(line(details, message)),
  // oxlint-disable-next-line no-console -- as above
  error: (details, message) => console.error(line(details, message)),
};
