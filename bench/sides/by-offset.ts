/** Pages of a thousand rows by OFFSET, each sent as one INSERT: how a script does it that somebody writes in an hour. */
import Database from 'better-sqlite3';
import type pg from 'pg';
import type { ColumnPlan, TablePlan } from '../../src/contract.ts';
import { quoted } from '../../src/databases/identifiers.ts';
import type { Side } from '../interleave.ts';
import { columnList, createBareTables } from '../tables.ts';
import { withClient } from '../target.ts';
import type { CopyWork } from './copy-work.ts';

const PAGE_ROWS = 1_000;

/** Tables and primary keys are there, indexes and foreign keys are not made. */
export function byOffset(name: string, work: CopyWork): Side {
  const { bench, source } = work;
  return {
    name,
    run: () =>
      work.measure(
        name,
        (url) => createBareTables(url, source.plan),
        (url) =>
          withClient(url, async (client) => {
            const db = new Database(source.path, { readonly: true });
            try {
              const started = performance.now();
              for (const table of source.plan.tables) await copyTable(db, client, table, bench.signal);
              return { ms: performance.now() - started };
            } finally {
              db.close();
            }
          }),
      ),
  };
}

async function copyTable(
  db: Database.Database,
  client: pg.Client,
  table: TablePlan,
  signal: AbortSignal,
): Promise<void> {
  const page = db
    .prepare(`SELECT ${columnList(table)} FROM ${quoted(table.name)} LIMIT ${PAGE_ROWS} OFFSET ?`)
    .raw();
  for (let offset = 0; ; offset += PAGE_ROWS) {
    signal.throwIfAborted();
    const rows = page.all(offset) as unknown[][];
    if (rows.length === 0) return;
    const marks = rows.map(
      (row, i) => `(${row.map((_, column) => `$${i * row.length + column + 1}`).join(', ')})`,
    );
    await client.query(
      `INSERT INTO public.${quoted(table.name)} (${columnList(table)}) VALUES ${marks.join(', ')}`,
      rows.flatMap((row) => row.map((value, column) => valueOf(table.columns[column]!, value))),
    );
  }
}

function valueOf({ kind }: ColumnPlan, value: unknown): unknown {
  return kind === 'boolean' && value !== null ? value === 1 : value;
}
