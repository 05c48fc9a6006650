/** The process of `Application`: operations at a steady rate through the router until its parent is gone. */
import { setTimeout as sleep } from 'node:timers/promises';
import { DatabaseConnection } from '../../src/index.ts';
import { messageOf } from '../../src/errors.ts';
import { onParentGone } from '../../src/parent.js';
import type { Answer, ApplicationInput, TrafficReport } from '../application.ts';
import { epochMs } from '../clock.ts';

const UPDATE = 'UPDATE item SET n = n + 1 WHERE id = ?';
const INSERT = 'INSERT INTO item (id, n) VALUES (?, 0)';
const READ = 'SELECT n FROM item WHERE id = ?';

let running = true;
let report: TrafficReport = empty();
/** Operations that are not answered, and when each was due, in that order. */
const pending = new Map<Promise<void>, number>();

function empty(): TrafficReport {
  return { writes: [], reads: [], failures: [], longestMs: 0 };
}

async function serve({
  source,
  target,
  rows,
  writesPerSecond,
  write,
  reads,
}: ApplicationInput): Promise<void> {
  const db = new DatabaseConnection({ source, target, synchronous: 'normal' });
  /** @param operate answers with the number of rows that it found */
  const one = async (
    kind: 'writes' | 'reads',
    id: number,
    dueAt: number,
    operate: () => Promise<number>,
  ): Promise<void> => {
    try {
      const found = await operate();
      if (found !== 1) throw new Error(`${found} rows in place of one`);
    } catch (error) {
      report.failures.push(messageOf(error));
    }
    const answer: Answer = { id, at: epochMs(), ms: performance.now() - dueAt };
    report[kind].push(answer);
    report.longestMs = Math.max(report.longestMs, answer.ms);
  };
  const start = (...operation: Parameters<typeof one>): void => {
    const done = one(...operation).finally(() => pending.delete(done));
    pending.set(done, operation[2]);
  };
  const known = (i: number): number => 1 + ((i * 7) % rows);
  const started = performance.now();
  for (let i = 0; running;) {
    for (let dueAt = started; running; i++) {
      dueAt = started + (i * 1_000) / writesPerSecond;
      if (dueAt > performance.now()) break;
      const [sql, id] = write === 'insert' ? [INSERT, rows + 1 + i] : [UPDATE, known(i)];
      start('writes', id, dueAt, async () => (await db.write(sql, [id])).changes);
      if (reads) start('reads', known(i), dueAt, async () => (await db.query(READ, [known(i)])).length);
    }
    await sleep(1);
  }
  await Promise.all(pending.keys());
  await db.close();
}

onParentGone(() => (running = false));
process.on('message', (message: ApplicationInput | 'report') => {
  if (message !== 'report') {
    void serve(message).then(() => process.exit(0));
    return;
  }
  // The slowest may be one that is still waiting.
  for (const dueAt of pending.values())
    report.longestMs = Math.max(report.longestMs, performance.now() - dueAt);
  process.send?.(report);
  report = empty();
});
