/** Rows that do not fit on a page of PostgreSQL: below its limit of 1,600 columns there may still be too many values. */
import type Database from 'better-sqlite3';
import type { ColumnKind, TablePlan } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import { isMomentKind } from '../databases/moment.ts';
import { findRows } from '../databases/sqlite/find-rows.ts';
import type { SourceTable } from '../databases/sqlite/schema.ts';
import { asRead } from './generated.ts';
import { named, type Findings } from './findings.ts';

/** MaxHeapTupleSize of pages of 8 kB, https://www.postgresql.org/docs/current/storage-page-layout.html */
const TUPLE_BYTES = 8_160;
const HEADER_BYTES = 23;
/** What remains of a long value on the page once it is stored elsewhere, or is too short to be. */
const LONG_BYTES = 24;

/** Bytes that a value takes on the page at most, with what aligns it. */
function widest(kind: ColumnKind): number {
  if (isMomentKind(kind)) return 15;
  switch (kind) {
    case 'boolean':
      return 1;
    case 'date':
      return 7;
    case 'bigint':
    case 'double':
      return 15;
    default:
      return LONG_BYTES;
  }
}

/** Blocks the rows that are certain not to fit, and tells where a row with a value in every column would not. */
export async function reportWidth(
  db: Database.Database,
  source: SourceTable,
  plan: TablePlan,
  findings: Findings,
): Promise<void> {
  const { columns } = asRead(plan);
  const fixed = aligned(HEADER_BYTES + Math.ceil(columns.length / 8));
  const most = columns.reduce((sum, { kind }) => sum + widest(kind), fixed);
  if (most <= TUPLE_BYTES) return;
  const widths = columns.map(({ name, kind }, i) =>
    widthSql(`t.${quoted(name)}`, kind, columns[i - 1]?.kind),
  );
  const found = await findRows(db, source, `${fixed} + ${sumOf(widths)} > ${TUPLE_BYTES}`);
  if (found.count === 0) {
    findings.note({
      code: 'wide-table',
      table: source.name,
      message: `${named(source.name)} has ${columns.length} columns: a row with a value in each may not fit on a page of PostgreSQL (8 kB), which refuses it then`,
    });
  } else {
    findings.block({
      code: 'row-too-wide',
      table: source.name,
      ...found,
      message: `${named(source.name)} has ${found.count} rows with values in so many of its ${columns.length} columns that they may not fit on a page of PostgreSQL (8 kB, of which a number takes 8 bytes and a long text up to ${LONG_BYTES}): split it`,
    });
  }
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

/** NULL takes nothing. Numbers one after the other need nothing between them, unless there was a NULL of another width. */
function widthSql(name: string, kind: ColumnKind, before: ColumnKind | undefined): string {
  const bytes = ['text', 'json', 'bytea'].includes(kind)
    ? `min(octet_length(${name}) + 1, ${LONG_BYTES})`
    : widest(kind) === 15 && (before === undefined || widest(before) === 15)
      ? 8
      : widest(kind);
  return `iif(${name} IS NULL, 0, ${bytes})`;
}

/** SQLite allows no expression deeper than 1,000. */
function sumOf(terms: string[]): string {
  if (terms.length === 1) return terms[0]!;
  const half = Math.ceil(terms.length / 2);
  return `(${sumOf(terms.slice(0, half))} + ${sumOf(terms.slice(half))})`;
}
