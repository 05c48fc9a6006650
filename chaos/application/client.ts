/** What every application process does: reads its arguments, runs its lanes, and ends when it is told. */
import { parseArgs } from 'node:util';
import { onParentGone } from '../../src/parent.js';
import { Journal } from './journal.ts';
import { runLane, type Connection } from './lane.ts';

export async function runClient(connection: Connection, close: () => Promise<void>): Promise<void> {
  const { values } = parseArgs({
    options: {
      journal: { type: 'string' },
      lanes: { type: 'string' },
      seed: { type: 'string' },
      pace: { type: 'string' },
      slow: { type: 'string' },
    },
  });
  const journal = new Journal(values.journal ?? '');
  const [first = 0, count = 1] = (values.lanes ?? '').split(':').map(Number);
  const [share = 0, ms = 0] = (values.slow ?? '').split(':').map(Number);
  const stop = new AbortController();
  process.on('SIGTERM', () => stop.abort());
  onParentGone(() => stop.abort());
  await Promise.all(
    Array.from({ length: count }, (_, i) =>
      runLane({
        lane: first + i,
        seed: Number(values.seed),
        journal,
        connection,
        paceMs: Number(values.pace),
        slow: { share, ms },
        signal: stop.signal,
      }),
    ),
  );
  await close();
  journal.close();
  process.exit(0);
}
