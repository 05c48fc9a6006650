/**
 * Reverse replication: after the cutover every change on the target goes back into the source, so that a way back
 * without loss exists. PostgreSQL commits in no order that numbers tell, so the log is consumed by deleting exactly
 * what was applied, never by a high-water mark.
 */
import type pg from 'pg';
import type Database from 'better-sqlite3';
import type { Plan, TablePlan } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import { keysAsRows, type KeyValue } from '../databases/key.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import { sqliteValue } from '../databases/postgres/copy-text.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { takeLease } from '../databases/sqlite/control.ts';
import { Receiver, type Refused } from '../databases/sqlite/receive.ts';
import { writeTransaction } from '../databases/sqlite/transaction.ts';
import type { Endpoints } from './endpoints.ts';
import type { SourceLease } from './source-control.ts';
import { readPlan, tablesById } from './store.ts';

const ROWS_PER_FETCH = 2_000;

/** What a snapshot of the reverse log asks for. */
interface LogSnapshot {
  /** Every log row of the snapshot, to be deleted once it is applied. */
  sequences: string[];
  /** Distinct keys per table as the target's texts; `all` after a TRUNCATE. */
  tables: Map<number, { keys: string[][]; all: boolean }>;
}

export class ReverseReplayer {
  readonly plan: Plan;
  readonly db: Database.Database;
  readonly client: pg.Client;
  /** Log rows consumed since this replayer began. */
  applied = 0;

  private readonly lease: SourceLease;
  private readonly receiver: Receiver;
  private readonly tables: Map<number, TablePlan>;

  private constructor(db: Database.Database, client: pg.Client, plan: Plan, lease: SourceLease) {
    this.db = db;
    this.client = client;
    this.plan = plan;
    this.lease = lease;
    this.receiver = new Receiver(db);
    this.tables = tablesById(plan);
  }

  /** Opens both databases and takes the source's `reverse` lease. The caller closes it. */
  static async open(endpoints: Endpoints, lease: SourceLease): Promise<ReverseReplayer> {
    const db = openSource(endpoints.sourcePath, 'write');
    try {
      await writeTransaction(db, () => takeLease(db, lease));
      const client = await connectTarget(endpoints.targetUrl, {
        applicationName: 'crossfade reverse replay',
      });
      try {
        return new ReverseReplayer(db, client, await readPlan(client), lease);
      } catch (error) {
        await client.end().catch(() => undefined);
        throw error;
      }
    } catch (error) {
      db.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.db.close();
    await this.client.end().catch(() => undefined);
  }

  /**
   * Applies everything that one snapshot of the log names: a part of it could hold two rows with one unique value.
   * @returns log rows consumed, 0 where the source has everything
   */
  async step(): Promise<number> {
    const snapshot = await this.readSnapshot();
    if (snapshot === null) return 0;
    const refused = await this.receiver.apply(this.lease);
    await this.consume(snapshot.sequences, refused);
    this.applied += snapshot.sequences.length;
    return snapshot.sequences.length;
  }

  /** Changes not yet applied, and the age of the oldest in ms is not known to the log; this is their number. */
  async backlog(): Promise<number> {
    const { rows } = await this.client.query<{ n: string }>('SELECT count(*) AS n FROM crossfade.log');
    return Number(rows[0]?.n ?? 0);
  }

  /** Reads log and rows on one snapshot and stages them. */
  private async readSnapshot(): Promise<LogSnapshot | null> {
    const { client } = this;
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    try {
      const { rows } = await client.query<[string, number, string[] | null]>({
        text: 'SELECT seq::text, table_id, key FROM crossfade.log ORDER BY seq',
        rowMode: 'array',
      });
      if (rows.length === 0) return null;
      const snapshot = collect(rows);
      this.receiver.clear();
      for (const [id, changed] of snapshot.tables) {
        const table = this.tables.get(id);
        if (table !== undefined) await this.stage(table, changed);
      }
      return snapshot;
    } finally {
      await client.query('COMMIT').catch(() => undefined);
    }
  }

  private async stage(table: TablePlan, changed: { keys: string[][]; all: boolean }): Promise<void> {
    if (changed.all) {
      this.receiver.stageAll(table);
      await this.stageWholeTable(table);
      return;
    }
    const columns = table.columns.map((column) => `t.${quoted(column.name)}::text`).join(', ');
    const match = table.key.map((name, i) => `t.${quoted(name)} = d.k${i}`).join(' AND ');
    for (let i = 0; i < changed.keys.length; i += ROWS_PER_FETCH) {
      const keys = changed.keys.slice(i, i + ROWS_PER_FETCH);
      this.receiver.stageKeys(
        table,
        keys.map((key) => sourceKey(table, key)),
      );
      const { rows } = await this.client.query<(string | null)[]>({
        text: `SELECT ${columns} FROM ${keysAsRows(table, keys)} JOIN public.${quoted(table.name)} t ON ${match}`,
        rowMode: 'array',
      });
      this.receiver.stageRows(
        table,
        rows.map((row) => sourceRow(table, row)),
      );
    }
  }

  private async stageWholeTable(table: TablePlan): Promise<void> {
    const columns = table.columns.map((column) => `${quoted(column.name)}::text`).join(', ');
    await this.client.query(
      `DECLARE crossfade_table NO SCROLL CURSOR FOR SELECT ${columns} FROM public.${quoted(table.name)}`,
    );
    for (;;) {
      const { rows } = await this.client.query<(string | null)[]>({
        text: `FETCH ${ROWS_PER_FETCH} FROM crossfade_table`,
        rowMode: 'array',
      });
      if (rows.length === 0) break;
      this.receiver.stageRows(
        table,
        rows.map((row) => sourceRow(table, row)),
      );
    }
    await this.client.query('CLOSE crossfade_table');
  }

  /** Deletes exactly what was applied. A crash before this repeats the batch, which is idempotent. */
  private async consume(sequences: string[], refused: Refused[]): Promise<void> {
    await this.client.query('BEGIN');
    try {
      for (const row of refused) {
        await this.client.query(
          `INSERT INTO crossfade.quarantine (table_id, key, reason) VALUES ($1, $2, $3)
             ON CONFLICT (table_id, key) DO UPDATE SET reason = excluded.reason, at = now()`,
          [row.tableId, row.key, row.reason],
        );
      }
      await this.client.query('DELETE FROM crossfade.log WHERE seq = ANY($1::bigint[])', [sequences]);
      await this.client.query('COMMIT');
    } catch (error) {
      await this.client.query('ROLLBACK').catch(() => undefined);
      throw error;
    }
  }
}

function collect(rows: [string, number, string[] | null][]): LogSnapshot {
  const snapshot: LogSnapshot = { sequences: [], tables: new Map() };
  const seen = new Set<string>();
  for (const [sequence, tableId, key] of rows) {
    snapshot.sequences.push(sequence);
    const changed = snapshot.tables.get(tableId) ?? { keys: [], all: false };
    snapshot.tables.set(tableId, changed);
    if (key === null) {
      changed.all = true;
      continue;
    }
    const name = `${tableId} ${JSON.stringify(key)}`;
    if (seen.has(name)) continue;
    seen.add(name);
    changed.keys.push(key);
  }
  return snapshot;
}

function sourceKey(table: TablePlan, key: string[]): KeyValue[] {
  return table.key.map((name, i) => {
    const column = table.columns.find((candidate) => candidate.name === name)!;
    return sqliteValue(key[i]!, column.kind);
  });
}

function sourceRow(table: TablePlan, row: (string | null)[]): KeyValue[] {
  return row.map((text, i) => (text === null ? null : sqliteValue(text, table.columns[i]!.kind)));
}
