/** Does a fault to a world. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { abortSignal, pauseSignal, resumeSignal } from '../workflows/messages.ts';
import type { Random } from '../demo/database/random.ts';
import type { Fault } from './faults.ts';
import { hold } from './keep.ts';
import { writeTo } from './sources/sqlite.ts';
import type { World } from './world.ts';

/** A seam that has not been met by then may not come at all: the run ends without it. */
const SEAM_WAIT_MS = 5_000;

/** Resolves when the fault is over, or waits for what it is for; not when its consequences are over. */
export async function inject(world: World, fault: Fault, random: Random): Promise<void> {
  const { servers } = world.options;
  switch (fault.kind) {
    case 'kill-worker':
      return world.worker?.kill();
    case 'seam':
      await world.restartWorker(`${fault.seam}:${fault.nth}:kill`);
      return;
    case 'hold-at-seam': {
      const { seam, nth, ms } = fault;
      const armed = await world.restartWorker(`${seam}:${nth}:hold`);
      world.startWorker();
      await Promise.race([world.continueAfter(armed, ms), sleep(ms + SEAM_WAIT_MS)]);
      return;
    }
    case 'hold-worker': {
      const { worker } = world;
      const held = worker === undefined ? Promise.resolve() : hold(worker.pid, fault.ms);
      // Another worker takes the work over meanwhile, as on a cluster; then both are there.
      world.startWorker();
      return held;
    }
    case 'crash-postgres':
      return servers.crashPostgres();
    case 'crash-temporal':
      return servers.crashTemporal();
    case 'hang-postgres':
      return servers.hangPostgres(fault.ms);
    case 'hang-temporal':
      return servers.hangTemporal(fault.ms);
    case 'cut-connections':
      servers.proxy.cut();
      return;
    case 'cut-at-commit':
      servers.proxy.cutAtCommit(fault.count);
      return;
    case 'lock-target':
      return lockTarget(world.target.direct, fault.ms);
    case 'kill-application':
      return world.application(random.below(3))?.kill();
    case 'rebuild-table':
    case 'add-column':
    case 'add-table':
      return changeSchema(world, CHANGE[fault.kind]);
    case 'disk-full':
      servers.disk.fill();
      try {
        await sleep(fault.ms);
      } finally {
        servers.disk.free();
      }
      return;
    case 'pause':
      await world.handle((handle) => handle.signal(pauseSignal));
      await sleep(fault.ms);
      await world.handle((handle) => handle.signal(resumeSignal));
      return;
    case 'abort':
      return world.handle((handle) => handle.signal(abortSignal, 'chaos'));
    case 'cancel':
      await world.handle((handle) => handle.cancel());
      return;
    case 'terminate':
      await world.handle((handle) => handle.terminate('chaos'));
      return;
    default:
      return world.source.inject(fault);
  }
}

/** A session of somebody else's that holds a lock on a table and does nothing. */
async function lockTarget(url: string, ms: number): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query('BEGIN');
    await client.query('LOCK TABLE public.entry IN ACCESS EXCLUSIVE MODE');
    await sleep(ms);
  } catch {
    // There is no such table before the copy and after a rollback.
  } finally {
    await client.end().catch(() => undefined);
  }
}

const CHANGE = {
  /** As an ORM changes a column: a new table, its rows, the old name. The triggers of the old one go with it. */
  'rebuild-table': [
    'CREATE TABLE counter_new (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)',
    'INSERT INTO counter_new SELECT * FROM counter',
    'DROP TABLE counter',
    'ALTER TABLE counter_new RENAME TO counter',
  ],
  'add-column': [`ALTER TABLE counter ADD COLUMN unit TEXT DEFAULT 'piece'`],
  'add-table': [
    'CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT)',
    `INSERT INTO note (body) VALUES ('new')`,
  ],
};

/** Also in the copy from before the migration, which says what schema is to be left. */
async function changeSchema({ source }: World, statements: string[]): Promise<void> {
  await source.write(statements);
  writeTo(source.baseline, statements);
}
