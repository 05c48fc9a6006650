/** Rows that are set aside, because the other database cannot hold them, as people are told of them. */
import type pg from 'pg';
import type { TablePlan } from '../contract.ts';
import { readQuarantine, type Quarantined } from '../databases/postgres/apply.ts';
import { readableKey, shortened } from './compare.ts';

/** Rows that are told one by one. */
const ROWS_TOLD = 3;

export interface QuarantineFigures {
  quarantined: number;
  /** The first three, one line each. */
  quarantine: string[];
}

export async function quarantineFigures(client: pg.Client, tables: TablePlan[]): Promise<QuarantineFigures> {
  const { rows } = await client.query<{ n: string }>('SELECT count(*) AS n FROM crossfade.quarantine');
  const quarantined = Number(rows[0]?.n ?? 0);
  if (quarantined === 0) return { quarantined, quarantine: [] };
  const first = await readQuarantine(client, ROWS_TOLD);
  return { quarantined, quarantine: first.map((row) => quarantineText(row, tables)) };
}

export function quarantineText(row: Quarantined, tables: TablePlan[]): string {
  const table = tables.find(({ id }) => id === row.tableId)?.name ?? '?';
  return `table "${table}", key ${shortened(readableKey(row.key))}: ${row.reason}`;
}
