/** Collects what a plan found: blockers stop the migration before anything is created, notices tell. */
import type Database from 'better-sqlite3';
import type { Finding } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import { firstKeys } from '../databases/sqlite/find-rows.ts';
import type { SourceTable } from '../databases/sqlite/schema.ts';

/** The rows that a finding is about, where they were counted but not looked at. */
interface Rows {
  table: SourceTable;
  /** SQL over the table, whose alias is `t`. */
  condition: string;
}

export class Findings {
  readonly blockers: Finding[] = [];
  readonly notices: Finding[] = [];
  private readonly rows = new Map<Finding, Rows>();

  /** @param rows whose first keys `locate` adds */
  block(finding: Finding, rows?: Rows): void {
    this.add(this.blockers, finding, rows);
  }

  /** @param rows whose first keys `locate` adds */
  note(finding: Finding, rows?: Rows): void {
    this.add(this.notices, finding, rows);
  }

  private add(list: Finding[], finding: Finding, rows: Rows | undefined): void {
    list.push(finding);
    if (rows !== undefined) this.rows.set(finding, rows);
  }

  /** Adds the first keys to the findings about rows. Reads in short steps, and no further than to these keys. */
  async locate(db: Database.Database): Promise<void> {
    for (const [finding, { table, condition }] of this.rows) {
      finding.keys = await firstKeys(db, table, condition, finding.count);
    }
    for (const finding of [...this.blockers, ...this.notices]) {
      const { keys } = finding;
      if (keys !== undefined && keys.length > 0) finding.message += keysText(keys, finding.count);
    }
  }
}

function keysText(keys: string[], count: number | undefined): string {
  const all = count === keys.length;
  return `; ${all ? '' : 'first '}${keys.length === 1 ? 'key' : 'keys'} ${keys.join(', ')}`;
}

/** How messages name a table or one of its columns. */
export function named(table: string, column?: string): string {
  return column === undefined ? `table ${quoted(table)}` : `column ${quoted(table)}.${quoted(column)}`;
}

/** SQL on one line, shortened. */
export function oneLine(sql: string): string {
  const line = sql.replace(/\s+/g, ' ').trim();
  return line.length > 160 ? `${line.slice(0, 159)}…` : line;
}
