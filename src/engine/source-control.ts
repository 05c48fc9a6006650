/** Changes to the source's control row, each one write transaction that takes the `control` lease and names the epoch it expects. */
import type Database from 'better-sqlite3';
import type { MigrationInput, Plan } from '../contract.ts';
import { CrossfadeError } from '../errors.ts';
import { captureFault, installCapture } from '../databases/sqlite/capture.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import {
  CONTROL_TABLE,
  readControl,
  takeLease,
  type Lease,
  type SourceLeaseRole,
} from '../databases/sqlite/control.ts';
import { schemaFingerprint } from '../databases/sqlite/fingerprint.ts';
import { readTransaction, writeTransaction } from '../databases/sqlite/transaction.ts';

export type SourceLease = Lease<SourceLeaseRole>;

/** Opens the source, runs one leased write transaction, closes it. @throws CrossfadeError LeaseLost, SourceBusy */
export async function changeSource<T>(
  path: string,
  lease: SourceLease,
  work: (db: Database.Database) => T,
): Promise<T> {
  const db = openSource(path, 'write');
  try {
    return await writeTransaction(db, () => {
      takeLease(db, lease);
      return work(db);
    });
  } finally {
    db.close();
  }
}

/**
 * Installs the capture triggers, provided that the schema is still the one that was planned.
 * @throws CrossfadeError SchemaChanged, LeaseLost
 */
export async function startCapture(
  path: string,
  lease: SourceLease,
  plan: Plan,
  settings: MigrationInput['capture'],
): Promise<void> {
  await changeSource(path, lease, (db) => {
    const fingerprint = schemaFingerprint(db);
    if (fingerprint !== plan.fingerprint) throw schemaChanged(path, 'since it was planned');
    installCapture(db, plan.tables, settings.maxLogRows);
  });
}

/** Sets the share of reads that routers send to the target, and whether they wait for dual writes. */
export async function setRouting(
  path: string,
  lease: SourceLease,
  routing: { readPercent: number; dualWrites: boolean; dualWriteTimeoutMs: number },
): Promise<void> {
  await changeSource(path, lease, (db) => {
    const done = db
      .prepare(
        `UPDATE ${CONTROL_TABLE} SET read_percent = ?, dual_writes = ?, dual_write_timeout_ms = ?
          WHERE id = 1 AND epoch = ? AND state <> 'moved'`,
      )
      .run(routing.readPercent, routing.dualWrites ? 1 : 0, routing.dualWriteTimeoutMs, lease.epoch);
    if (done.changes !== 1) {
      throw new CrossfadeError('LeaseLost', `source ${path} is no longer primary in epoch ${lease.epoch}`);
    }
  });
}

/** Sends every read back to the source; nothing happens where it is not primary or has no control row. */
export async function resetRouting(path: string, lease: SourceLease): Promise<string> {
  const db = openSource(path, 'read');
  try {
    const control = readControl(db);
    if (control === null || control.state === 'moved') return 'reads: the source has no routing to reset';
  } finally {
    db.close();
  }
  await setRouting(path, lease, { readPercent: 0, dualWrites: false, dualWriteTimeoutMs: 0 });
  return 'reads: all on the source again';
}

/** Names why the source can no longer be trusted to log every change; null where all is well. Runs in the caller's snapshot. */
export function sourceFault(db: Database.Database, plan: Plan): CrossfadeError | null {
  if (schemaFingerprint(db) !== plan.fingerprint) return schemaChanged(db.name, 'during the migration');
  const fault = captureFault(db, plan.tables);
  return fault === null
    ? null
    : new CrossfadeError(
        'SchemaChanged',
        `source ${db.name}: ${fault}, so changes may have gone unlogged; the migration rolls back: start it again`,
      );
}

function schemaChanged(path: string, when: string): CrossfadeError {
  return new CrossfadeError(
    'SchemaChanged',
    `source ${path}: the schema changed ${when}; finish the change and start the migration again`,
  );
}

/** Looks for faults only after DDL: SQLite counts changes of the schema, and the count costs microseconds. */
export class SourceWatch {
  private readonly db: Database.Database;
  private readonly plan: Plan;
  private readonly version: Database.Statement;
  private checked: unknown;

  constructor(db: Database.Database, plan: Plan) {
    this.db = db;
    this.plan = plan;
    this.version = db.prepare('PRAGMA schema_version').pluck();
  }

  /** @throws CrossfadeError SchemaChanged */
  check(): void {
    readTransaction(this.db, () => {
      const version = this.version.get();
      if (version === this.checked) return;
      const fault = sourceFault(this.db, this.plan);
      if (fault !== null) throw fault;
      this.checked = version;
    });
  }
}
