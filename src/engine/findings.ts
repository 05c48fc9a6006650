/** Collects what a plan found: blockers stop the migration before anything is created, notices tell. */
import type { Finding } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';

export class Findings {
  readonly blockers: Finding[] = [];
  readonly notices: Finding[] = [];

  block(finding: Finding): void {
    this.blockers.push(finding);
  }

  note(finding: Finding): void {
    this.notices.push(finding);
  }
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
