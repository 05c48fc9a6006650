/** A D1 database in workerd, behind an imitation of Cloudflare's REST API, and an application of two Workers. */
import { join } from 'node:path';
import { Child } from '../child.ts';
import type { FromD1 } from '../messages.ts';
import type { SourceKind } from './source.ts';

const STOP_MS = 10_000;

export const D1: SourceKind = {
  name: 'D1',
  // Each row crosses the API three times.
  defaults: { users: 5_000, ops: 50 },
  // Each request opens a connection to PostgreSQL, which Hyperdrive keeps open for a real Worker, and many come at once
  // when replay lets the writes go that wait for it.
  latencyFloorMs: 2_000,
  async open({ directory, baseline, target, cleanup }) {
    let child: Child<FromD1> | undefined;
    const ready = new Promise<FromD1>((resolve) => {
      child = new Child<FromD1>({
        module: 'sources/d1-process',
        args: ['--folder', join(directory, 'd1'), '--rows', baseline, '--target', target],
        // Where miniflare leaves its own files, which go with the rest.
        env: { ...process.env, TMPDIR: directory },
        logFile: join(directory, 'd1.log'),
        onMessage: resolve,
      });
    });
    const running = child!;
    cleanup.add('stop workerd', () => running.end(STOP_MS));
    const failed = running.ended.then((how): never => {
      throw new Error(
        `workerd ended by itself (${how}); it last printed:\n${running.lastLines(10).join('\n')}`,
      );
    });
    failed.catch(() => undefined);
    const { url, env, file, workers } = await Promise.race([ready, failed]);
    return {
      env: {
        ...env,
        SOURCE_URL: url,
        WORKER_URLS: workers.join(' '),
        // The worker's mirror of D1 goes with the rest.
        CROSSFADE_HOME: join(directory, 'home'),
      },
      file,
      application: 'workers-application-process',
      where: `D1 through ${workers.length} Workers`,
      failed,
    };
  },
};
