/**
 * A value that replay meets later and that breaks the plan's choice: its row is set aside by key, shown by `crossfade
 * status`, stands against the cutover, and is released by the write that mends it. Everything beside it goes on.
 */
import { PHASES, type MigrationStatus, type Progress } from '../src/contract.ts';
import { PlainPrinter } from '../src/cli/view/plain-printer.ts';
import { renderScreen } from '../src/cli/view/screen.ts';
import type { Snapshot } from '../src/cli/view/snapshot.ts';
import { replayLoop } from '../src/engine/replay-loop.ts';
import { eventually } from './support/eventually.ts';
import { TestMigration } from './support/migration.ts';
import { differences } from './support/same.ts';

const SCHEMA = `
  CREATE TABLE visit (id INTEGER PRIMARY KEY, at DATETIME, ok BOOLEAN, n INTEGER, v TEXT);
  INSERT INTO visit VALUES (1, '2024-01-31 12:34:56', 1, 5, 'a'), (2, '2024-02-01 00:00:00', 0, 6, 'b');
  CREATE TABLE other (id INTEGER PRIMARY KEY, v TEXT);
`;

type Replay = Extract<Progress, { kind: 'replay' }>;

let migration: TestMigration;

beforeEach(async () => {
  migration = await TestMigration.create(SCHEMA);
  await migration.upToVerified();
});

afterEach(() => migration.dispose());

/** Runs the loop until `seen` is true of a report, which it returns. */
async function replayUntil(what: string, seen: (report: Replay) => boolean): Promise<Replay> {
  const stop = new AbortController();
  let last: Replay | undefined;
  const onProgress = (report: Progress): void => void (last = report as Replay);
  const end = replayLoop(
    { endpoints: migration.endpoints, signal: stop.signal, onProgress },
    migration.lease('replay'),
  );
  try {
    await eventually(what, () => last !== undefined && last.head === last.position && seen(last));
  } finally {
    stop.abort();
    await end;
  }
  return last!;
}

/** What `crossfade status` and `crossfade watch --plain` show of it. */
function shown(report: Replay): { screen: string; lines: string[] } {
  const status: MigrationStatus = {
    migration: 'm/1',
    source: 'source',
    target: 'target',
    outcome: 'running',
    phase: 'shift',
    phases: PHASES.slice(0, 8).map((phase) => ({ phase, startedAt: new Date().toISOString() })),
    paused: false,
    primary: 'source',
    readPercent: 0,
    stages: [],
  };
  const snapshot: Snapshot = {
    workflowId: 'm',
    status,
    progress: [report],
    retrying: [],
    unanswered: false,
    now: Date.now(),
  };
  const lines: string[] = [];
  new PlainPrinter((line) => lines.push(line)).print(snapshot);
  return { screen: renderScreen(snapshot, 100).replace(/\s*│\n│ */g, ' '), lines };
}

it('is set aside by key, shown with what does not fit, blocks the cutover, and is released when it is mended', async () => {
  const { app, target } = migration;
  app.exec(`UPDATE visit SET at = '31.1.2024' WHERE id = 1; INSERT INTO visit VALUES (3, NULL, 2, 'many', 'c');
    UPDATE visit SET n = 7 WHERE id = 2; INSERT INTO other VALUES (1, 'goes on')`);
  const report = await replayUntil('two rows set aside', ({ quarantined }) => quarantined === 2);
  expect(report.quarantine).toEqual([
    'table "visit", key 1: it has another storage class or format than the plan found: column "at" (timestamp) has a value of class text',
    'table "visit", key 3: it has another storage class or format than the plan found: column "ok" (boolean) has a value of class integer, ' +
      'column "n" (bigint) has a value of class text',
  ]);
  const { screen, lines } = shown(report);
  expect(screen).toContain('2 rows set aside, which blocks the cutover until they are changed:');
  expect(screen).toContain('table "visit", key 1: it has another storage class');
  expect(lines.join('\n')).toContain(
    '2 rows set aside, which blocks the cutover until they are changed; table "visit", key 1:',
  );

  // Neither row is there in an older form, and everything beside them is.
  expect((await target.query('SELECT id, n FROM visit')).rows).toEqual([{ id: '2', n: '7' }]);
  expect((await target.query('SELECT v FROM other')).rows).toEqual([{ v: 'goes on' }]);
  expect(await migration.verify()).toMatchObject({ equal: false, mismatches: [], quarantined: 2 });

  const returned = await migration.cutOver();
  expect(returned).toMatchObject({ outcome: 'returned', pauseMs: 0 });
  expect(returned.reason).toMatch(
    /: 2 rows are in quarantine, the first in table "visit", key 1: .*"at".*change them in the source/,
  );

  app.exec(
    `UPDATE visit SET at = '2024-01-31 00:00:00' WHERE id = 1; REPLACE INTO visit VALUES (3, NULL, 1, 8, 'c')`,
  );
  const mended = await replayUntil('no row set aside', ({ quarantined }) => quarantined === 0);
  expect(mended.quarantine).toEqual([]);
  expect(shown(mended).screen).not.toContain('set aside');
  expect(await migration.verify()).toMatchObject({ equal: true, quarantined: 0 });
  expect(await differences(app, target, migration.plan)).toEqual([]);
  expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
});

it('is released when its row is deleted', async () => {
  const { app } = migration;
  app.exec(`UPDATE visit SET ok = 'yes' WHERE id = 2`);
  await replayUntil('a row set aside', ({ quarantined }) => quarantined === 1);
  app.exec('DELETE FROM visit WHERE id = 2');
  await replayUntil('no row set aside', ({ quarantined }) => quarantined === 0);
  expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
});
