/** Is the source whole? A damaged file would be found out halfway through the copy, or not at all. */
import { Worker } from 'node:worker_threads';
import { sourceCorrupt, sourceError } from '../databases/sqlite/connection.ts';

type Answer = { damage: string[] } | { code?: string; message: string };

/**
 * Runs PRAGMA quick_check in a thread: one read transaction of about a second per gigabyte where the file is in memory,
 * else as long as the disk takes to read it. Nobody waits for it; only SQLite's checkpoints do.
 * @throws CrossfadeError SourceCorrupt, SourceBusy
 */
export async function checkIntegrity(sourcePath: string): Promise<void> {
  const answer = await new Promise<Answer>((resolve, reject) => {
    const thread = new Worker(new URL('./integrity-thread.js', import.meta.url), {
      workerData: { sourcePath },
    });
    thread.once('message', resolve);
    thread.once('error', reject);
    // After a message this changes nothing.
    thread.once('exit', (status) =>
      reject(new Error(`the thread of quick_check ended with status ${status}`)),
    );
  });
  if ('message' in answer) throw sourceError(sourcePath, Object.assign(new Error(answer.message), answer));
  if (answer.damage.length > 0) throw sourceCorrupt(sourcePath, answer.damage.join('; '));
}
