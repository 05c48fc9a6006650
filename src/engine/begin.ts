/** Begin: checks that both databases are free for this migration and creates the control rows. */
import type Database from 'better-sqlite3';
import type pg from 'pg';
import type { Plan } from '../contract.ts';
import { CrossfadeError } from '../errors.ts';
import { connectTarget, describeTarget } from '../databases/postgres/connection.ts';
import { CONTROL_SQL, readControl as readTargetControl } from '../databases/postgres/control.ts';
import { removeAll } from '../databases/sqlite/clean-up.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { createControl, lastOrdinal, readControl as readSourceControl } from '../databases/sqlite/control.ts';
import { logHead, type LogHead } from '../databases/sqlite/log.ts';
import { writeTransaction } from '../databases/sqlite/transaction.ts';
import type { SourceControlRow } from '../protocol.ts';
import type { Endpoints } from './endpoints.ts';

/** CREATE OR REPLACE TRIGGER came with PostgreSQL 14. */
const OLDEST_SERVER = 140_000;

/**
 * Refuses databases that hold something else: another migration, or tables that crossfade did not make.
 * Changes nothing. @throws CrossfadeError MigrationExists, TargetNotEmpty, TargetRefused
 */
export async function checkFree(endpoints: Endpoints, migration: string): Promise<void> {
  const db = openSource(endpoints.sourcePath, 'read');
  try {
    const control = readSourceControl(db);
    if (control !== null && control.migration !== migration) throw sourceTaken(endpoints.sourcePath, control);
  } finally {
    db.close();
  }
  await checkTarget(endpoints.targetUrl, migration);
}

/** The part of `checkFree` that looks at the target. @throws CrossfadeError MigrationExists, TargetNotEmpty, TargetRefused */
export async function checkTarget(url: string, migration: string): Promise<void> {
  const client = await connectTarget(url, { applicationName: 'crossfade plan' });
  try {
    await checkTargetFree(client, url, migration);
  } finally {
    await client.end();
  }
}

function sourceTaken(path: string, control: SourceControlRow): CrossfadeError {
  return new CrossfadeError(
    'MigrationExists',
    `source ${path} is already being migrated by "${control.migration}" (state ${control.state}): ` +
      `watch or abort that one, or run "crossfade rollback" if its workflow is gone`,
  );
}

async function checkTargetFree(client: pg.Client, url: string, migration: string): Promise<void> {
  const where = describeTarget(url);
  const control = await readTargetControl(client);
  if (control !== null) {
    if (control.migration === migration) return;
    throw new CrossfadeError(
      'MigrationExists',
      `target ${where} holds migration "${control.migration}" (state ${control.state}${control.finished ? ', finished' : ''}): ` +
        `use another database, or drop its tables and schema "crossfade" if you no longer need them`,
    );
  }
  await checkServer(client, where);
  const { rows } = await client.query<{ name: string }>(
    `SELECT c.relname AS name FROM pg_class c
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
        AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
      ORDER BY c.relname LIMIT 4`,
  );
  if (rows.length > 0) {
    throw new CrossfadeError(
      'TargetNotEmpty',
      `target ${where} is not empty: schema public has ${rows.map(({ name }) => `"${name}"`).join(', ')}; ` +
        `create an empty database for the migration`,
    );
  }
}

async function checkServer(client: pg.Client, where: string): Promise<void> {
  const { rows } = await client.query<{ encoding: string; version: string }>(
    `SELECT current_setting('server_encoding') AS encoding, current_setting('server_version_num') AS version`,
  );
  const { encoding, version } = rows[0]!;
  if (encoding !== 'UTF8') {
    throw new CrossfadeError(
      'TargetRefused',
      `target ${where} stores text as ${encoding}, which cannot hold every text of the source: ` +
        `create the database with ENCODING 'UTF8' TEMPLATE template0`,
    );
  }
  if (Number(version) < OLDEST_SERVER) {
    throw new CrossfadeError(
      'TargetRefused',
      `target ${where} is older than PostgreSQL ${OLDEST_SERVER / 10_000}: use a newer server`,
    );
  }
}

/**
 * Creates the control rows: source open and target standby, both with epoch 1. Idempotent for one migration.
 * @throws CrossfadeError MigrationExists
 */
export async function beginMigration(endpoints: Endpoints, migration: string, plan: Plan): Promise<void> {
  await checkFree(endpoints, migration);
  const keyColumns = Math.max(1, ...plan.tables.map((table) => table.key.length));
  const db = openSource(endpoints.sourcePath, 'write');
  try {
    // The source first: the target's checkpoint names the log's first row.
    await writeTransaction(db, () => {
      // Looked at again, because two may have found it free at the same time.
      const control = readSourceControl(db);
      if (control === null) createControl(db, migration, keyColumns);
      else if (control.migration !== migration) throw sourceTaken(endpoints.sourcePath, control);
    });
    try {
      await createTargetControl(endpoints, migration, plan, logHead(db));
    } catch (error) {
      await writeTransaction(db, () => undoBegin(db, migration));
      throw error;
    }
  } finally {
    db.close();
  }
}

/**
 * Removes what an earlier attempt to begin left in either database, provided that no step has gone on from it.
 * @throws the drivers' errors, where that is not known to be done
 */
export async function undoUnknownBegin(endpoints: Endpoints, migration: string): Promise<void> {
  const db = openSource(endpoints.sourcePath, 'write');
  try {
    await writeTransaction(db, () => undoBegin(db, migration));
  } finally {
    db.close();
  }
  const client = await connectTarget(endpoints.targetUrl, { applicationName: 'crossfade begin' });
  try {
    await client.query('BEGIN');
    if ((await readTargetControl(client, 'FOR UPDATE'))?.migration !== migration) return;
    const taken = await client.query('SELECT 1 FROM crossfade.lease WHERE ordinal > 0');
    if (taken.rowCount === 0) await client.query('DROP SCHEMA crossfade CASCADE; COMMIT');
  } finally {
    await client.end();
  }
}

/**
 * A beginning that failed leaves no trace in the source. Where this attempt slept while another one began and went on,
 * a lease was taken, and the row is that one's.
 */
function undoBegin(db: Database.Database, migration: string): void {
  const control = readSourceControl(db);
  if (control?.migration === migration && control.state === 'open' && lastOrdinal(db) === 0) removeAll(db);
}

async function createTargetControl(
  endpoints: Endpoints,
  migration: string,
  plan: Plan,
  head: LogHead,
): Promise<void> {
  const client = await connectTarget(endpoints.targetUrl, { applicationName: 'crossfade begin' });
  try {
    if ((await readTargetControl(client)) !== null) return;
    await client.query('BEGIN');
    await client.query(CONTROL_SQL);
    await client.query(
      `INSERT INTO crossfade.control (id, migration, epoch, state, plan) VALUES (1, $1, 1, 'standby', $2)`,
      [migration, JSON.stringify(plan)],
    );
    await client.query(
      `INSERT INTO crossfade.checkpoint (id, position, token, head) VALUES (1, $1, $2, $1)`,
      [String(head.position), String(head.token)],
    );
    await client.query(`INSERT INTO crossfade.copied (table_id, state) SELECT unnest($1::int[]), 'pending'`, [
      plan.tables.map((table) => table.id),
    ]);
    await client.query('COMMIT');
  } finally {
    await client.end();
  }
}
