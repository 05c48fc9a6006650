/**
 * The application as a process of its own, whatever its store is: serves traffic until it is told to stop, or its parent
 * is gone. Arguments: --journal FILE --ops N --lanes N --seed N
 */
import { parseArgs } from 'node:util';
import { onParentGone } from '../src/parent.js';
import { Application } from './application/application.ts';
import type { Store } from './application/store.ts';
import type { FromApplication, FromConductor } from './messages.ts';

const FIGURES_MS = 500;
/** A write that waits for a fence ends within a cutover's time bound. */
const STOP_MS = 20_000;

/** @throws Error where the environment lacks it */
export function required(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

function tell(message: FromApplication): void {
  if (process.connected) process.send?.(message);
}

export interface OpenStore {
  store: Store;
  close: () => Promise<void>;
}

/** @param open is given what hears of the router's alerts */
export async function serve(open: (onAlert: (kind: string) => void) => OpenStore): Promise<void> {
  const { values } = parseArgs({
    options: {
      journal: { type: 'string' },
      ops: { type: 'string' },
      lanes: { type: 'string' },
      seed: { type: 'string' },
    },
  });

  let application: Application | undefined;
  const { store, close } = open((alert) => application?.alert(alert));
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
  let timer: NodeJS.Timeout | undefined;
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
    await close();
    if (process.connected) process.disconnect();
  }

  process.on('message', (message: FromConductor) => {
    if (message.type === 'stop') void stop();
  });
  onParentGone(() => void stop());
  process.on('SIGTERM', () => void stop());

  await running.start();
  if (stopping) return;
  timer = setInterval(() => tell({ type: 'figures', figures: running.figures() }), FIGURES_MS);
  tell({ type: 'ready' });
}
