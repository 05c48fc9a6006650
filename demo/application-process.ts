/**
 * The application as a process of its own: serves traffic on SOURCE_URL and TARGET_URL until it is told to stop, or its
 * parent is gone.
 * Arguments: --journal FILE --ops N --lanes N --seed N
 */
import { parseArgs } from 'node:util';
import { DatabaseConnection } from '../src/index.ts';
import { Application } from './application/application.ts';
import type { FromApplication, FromConductor } from './messages.ts';

const FIGURES_MS = 500;
/** A write that waits for a fence ends within a cutover's time bound. */
const STOP_MS = 20_000;

function required(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

function tell(message: FromApplication): void {
  if (process.connected) process.send?.(message);
}

const { values } = parseArgs({
  options: {
    journal: { type: 'string' },
    ops: { type: 'string' },
    lanes: { type: 'string' },
    seed: { type: 'string' },
  },
});

let application: Application | undefined;
const store = new DatabaseConnection({
  source: required('SOURCE_URL'),
  target: required('TARGET_URL'),
  onAlert: (alert) => application?.alert(alert.kind),
});
application = new Application({
  store,
  journalPath: values.journal ?? 'journal.jsonl',
  operationsPerSecond: Number(values.ops ?? 400),
  lanes: Number(values.lanes ?? 16),
  seed: Number(values.seed ?? 1),
  onError: (message) => console.error(`${new Date().toISOString()} ${message}`),
});
const running = application;

let stopping = false;
async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  clearInterval(timer);
  setTimeout(() => {
    console.error(`operations were still under way after ${STOP_MS} ms`);
    process.exit(1);
  }, STOP_MS).unref();
  await running.stop();
  tell({ type: 'stopped', figures: running.figures() });
  await store.close();
  if (process.connected) process.disconnect();
}

process.on('message', (message: FromConductor) => {
  if (message.type === 'stop') void stop();
});
process.on('disconnect', () => void stop());
process.on('SIGTERM', () => void stop());

await running.start();
const timer = setInterval(() => tell({ type: 'figures', figures: running.figures() }), FIGURES_MS);
tell({ type: 'ready' });
