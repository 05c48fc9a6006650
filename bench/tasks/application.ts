/** The process of `Application`: writes at a steady rate through the router until its parent is gone. */
import { setTimeout as sleep } from 'node:timers/promises';
import { DatabaseConnection } from '../../src/index.ts';
import { messageOf } from '../../src/errors.ts';
import { onParentGone } from '../../src/parent.js';
import type { ApplicationInput, TrafficReport } from '../application.ts';

const WRITE = 'UPDATE item SET n = n + 1 WHERE id = ?';

let running = true;
let report: TrafficReport = empty();
/** Writes that are not answered, and when each was due, in that order. */
const pending = new Map<Promise<void>, number>();

function empty(): TrafficReport {
  return { writes: 0, failures: [], longestMs: 0 };
}

async function write({ source, target, rows, writesPerSecond }: ApplicationInput): Promise<void> {
  const db = new DatabaseConnection({ source, target, synchronous: 'normal' });
  const one = async (i: number, dueAt: number): Promise<void> => {
    try {
      const { changes } = await db.write(WRITE, [1 + ((i * 7) % rows)]);
      if (changes !== 1) throw new Error(`${changes} rows changed`);
    } catch (error) {
      report.failures.push(messageOf(error));
    }
    report.writes++;
    report.longestMs = Math.max(report.longestMs, performance.now() - dueAt);
  };
  const started = performance.now();
  for (let i = 0; running;) {
    for (let dueAt = started; running; i++) {
      dueAt = started + (i * 1_000) / writesPerSecond;
      if (dueAt > performance.now()) break;
      const done = one(i, dueAt).finally(() => pending.delete(done));
      pending.set(done, dueAt);
    }
    await sleep(1);
  }
  await Promise.all(pending.keys());
  await db.close();
}

onParentGone(() => (running = false));
process.on('message', (message: ApplicationInput | 'report') => {
  if (message !== 'report') {
    void write(message).then(() => process.exit(0));
    return;
  }
  // The slowest may be one that is still waiting.
  for (const dueAt of pending.values())
    report.longestMs = Math.max(report.longestMs, performance.now() - dueAt);
  process.send?.(report);
  report = empty();
});
