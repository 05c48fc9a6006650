/** Compares a mirror with its origin: every row is read from D1 again, while the application writes. */
import { quoted } from '../identifiers.ts';
import { keyText, type KeyValue } from '../key.ts';
import { marksOf } from '../sqlite/bind.ts';
import { LOG_TABLE } from '../sqlite/control.ts';
import { exactRows } from '../sqlite/exact-rows.ts';
import type { AuditDifference } from '../sqlite/origin.ts';
import { readSchema } from '../sqlite/schema.ts';
import { readTransaction } from '../sqlite/transaction.ts';
import { capturedTables, type CapturedTable } from './captured.ts';
import type { D1Client } from './client.ts';
import type { MirrorFile } from './mirror-file.ts';
import { readTables } from './read-tables.ts';
import { inReads, rowsWithSql, type TableRows } from './table-rows.ts';

/** A row that changes at every look is told by the log, so that a look more decides it. */
const LOOKS = 5;

interface AuditOptions {
  tables: string[];
  refresh(): Promise<void>;
  signal: AbortSignal | undefined;
}

/** Rows of D1 in one snapshot. */
interface Seen {
  table: TableRows;
  rows: KeyValue[][];
  /** End of the change log in that snapshot. */
  position: bigint;
}

interface Compared {
  differences: AuditDifference[];
  /** Keys, as the log has them, of rows that cannot be told yet. */
  changing: KeyValue[][];
}

/**
 * Every page is read with the end of the change log in its snapshot, and compared once the mirror has come so far; a row that
 * differs and that the log names after it has changed since, and is looked at again.
 */
export async function auditMirror(
  client: D1Client,
  mirror: MirrorFile,
  { tables, refresh, signal }: AuditOptions,
): Promise<AuditDifference[]> {
  const differences: AuditDifference[] = [];
  const captured = new Map(capturedTables(mirror.items()).map((table) => [table.name, table]));
  const some = readSchema(mirror.db).tables.filter(({ name }) => tables.includes(name));
  const again = new Map<TableRows, KeyValue[][]>();
  await readTables(client, some, { logged: mirror.has(LOG_TABLE), signal }, async (page) => {
    await refresh();
    const { table } = page;
    const log = captured.get(table.table.name);
    const compared = compare(mirror, page, log, () => mirrorRows(mirror, table, page.after, page.to));
    differences.push(...compared.differences);
    if (compared.changing.length > 0) again.set(table, [...(again.get(table) ?? []), ...compared.changing]);
  });
  for (const [table, keys] of again) {
    const log = captured.get(table.table.name)!;
    for (const some of inReads(keys, (key) => key)) differences.push(...(await lookAgain(table, log, some)));
  }
  return differences;

  async function lookAgain(
    table: TableRows,
    log: CapturedTable,
    keys: KeyValue[][],
  ): Promise<AuditDifference[]> {
    const found: AuditDifference[] = [];
    let left = keys;
    for (let look = 2; left.length > 0 && look <= LOOKS; look++) {
      signal?.throwIfAborted();
      const from = rowsWithSql(table.table.name, log.key, left);
      const answers = await client.read([POSITION_SQL, ...table.statements(from)]);
      const position = BigInt(answers.shift()!.rows[0]![0] ?? 0);
      const rows = await table.rows(answers);
      await refresh();
      const columns = table.columns.map((name) => `t.${quoted(name)}`);
      const compared = compare(mirror, { table, rows, position }, log, () =>
        exactRows(mirror.db, columns, from),
      );
      found.push(...compared.differences);
      left = compared.changing;
    }
    return found;
  }
}

const POSITION_SQL = `SELECT CAST(max(seq) AS TEXT) FROM ${LOG_TABLE}`;

/** @param mirrored gives the mirror's rows that are to be the same */
function compare(
  mirror: MirrorFile,
  { table: rows, rows: found, position }: Seen,
  captured: CapturedTable | undefined,
  mirrored: () => KeyValue[][],
): Compared {
  return readTransaction(mirror.db, () => {
    // By the log's key, so that what it names can be told.
    const places = (captured?.key ?? rows.key).map((name) => rows.columns.indexOf(name));
    const keyOf = (row: KeyValue[]): KeyValue[] => places.map((place) => row[place]!);
    const byKey = (some: KeyValue[][]): Map<string, { key: KeyValue[]; row: string }> =>
      new Map(
        some.map((row) => {
          const key = keyOf(row);
          return [keyText(key), { key, row: keyText(row) }];
        }),
      );
    const theirs = byKey(found);
    const mine = byKey(mirrored());
    const differences: AuditDifference[] = [];
    const keys: KeyValue[][] = [];
    const add = (name: string, key: KeyValue[], kind: AuditDifference['kind']): void => {
      differences.push({ table: rows.table.name, key: name, kind });
      keys.push(key);
    };
    for (const [name, { key, row }] of theirs) {
      const here = mine.get(name)?.row;
      if (here !== row) add(name, key, here === undefined ? 'only at the origin' : 'different');
    }
    for (const [name, { key }] of mine) if (!theirs.has(name)) add(name, key, 'only in the mirror');
    if (differences.length === 0 || captured === undefined) return { differences, changing: [] };
    const changed = changedSince(mirror, captured, position);
    const isChanging = ({ key }: AuditDifference): boolean => changed.has(key);
    return {
      differences: differences.filter((difference) => !isChanging(difference)),
      changing: keys.filter((_, i) => isChanging(differences[i]!)),
    };
  });
}

/** The mirror's rows after one key, up to another; null for either end. */
function mirrorRows(
  mirror: MirrorFile,
  rows: TableRows,
  after: KeyValue[] | null,
  to: KeyValue[] | null,
): KeyValue[][] {
  const key = `(${rows.key.map(quoted).join(', ')})`;
  const terms = [
    ...(after === null ? [] : [`${key} > (${marksOf(after).join(', ')})`]),
    ...(to === null ? [] : [`${key} <= (${marksOf(to).join(', ')})`]),
  ];
  const from = `FROM ${quoted(rows.table.name)} WHERE ${terms.join(' AND ') || 'true'} ORDER BY ${rows.key.map(quoted).join(', ')}`;
  return exactRows(mirror.db, rows.columns.map(quoted), from, [...(after ?? []), ...(to ?? [])]);
}

/** Keys of the table's rows that the log names after a position. */
function changedSince(mirror: MirrorFile, { id, key }: CapturedTable, position: bigint): Set<string> {
  if (!mirror.has(LOG_TABLE)) return new Set();
  const columns = key.map((_, i) => `k${i}`);
  return new Set(
    exactRows(mirror.db, columns, `FROM ${LOG_TABLE} WHERE t = ${id} AND seq > ${position}`).map(keyText),
  );
}
