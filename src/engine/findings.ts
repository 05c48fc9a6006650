/** Collects what a plan found: blockers stop the migration before anything is created, notices tell. */
import type Database from 'better-sqlite3';
import type { Finding, Policies } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import { firstKeys } from '../databases/sqlite/find-rows.ts';
import type { SourceTable } from '../databases/sqlite/schema.ts';
import { BLOCKERS, wayOn, type BlockerCode } from './blockers.ts';

/** The rows that a finding is about, where they were counted but not looked at. */
interface Rows {
  table: SourceTable;
  /** SQL over the table, whose alias is `t`. */
  condition: string;
}

/** A finding that stands against the migration; its message ends with what would mend the cause. */
type Blocker = Finding & { code: BlockerCode };

/** One that a policy decides about. */
interface Choice extends Omit<Blocker, 'message'> {
  /** What there is. */
  what: string;
  /** What would mend it. */
  mend: string;
  /** What becomes of it by each choice but `refuse`. */
  chosen: string | Record<string, string>;
}

export class Findings {
  readonly blockers: Finding[] = [];
  readonly notices: Finding[] = [];
  private readonly policies: Policies;
  private readonly rows = new Map<Finding, Rows>();

  constructor(policies: Policies) {
    this.policies = policies;
  }

  /** @param rows whose first keys `locate` adds */
  block(finding: Blocker, rows?: Rows): void {
    const message = finding.message + wayOn(finding.code, finding.table);
    this.add(this.blockers, { ...finding, message }, rows);
  }

  /**
   * A blocker where its policy refuses, otherwise a notice.
   * @returns whether the policy refuses
   * @throws Error where no policy is about this kind of blocker
   */
  decide({ what, mend, chosen, ...finding }: Choice, rows?: Rows): boolean {
    const policy = BLOCKERS[finding.code];
    if (policy === 'none' || policy === 'skip') throw new Error(`no policy decides about ${finding.code}`);
    const choice = this.policies[policy];
    if (choice === 'refuse') this.block({ ...finding, message: `${what}: ${mend}` }, rows);
    else {
      const become = typeof chosen === 'string' ? chosen : chosen[choice]!;
      this.note({ ...finding, message: `${what}: ${become}, as policies.${policy} asks` }, rows);
    }
    return choice === 'refuse';
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
