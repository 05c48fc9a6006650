/**
 * Names on the target. PostgreSQL keeps 63 bytes of a name, and tables, indexes and sequences of a schema share one
 * name space. Every choice is deterministic, so that a plan made again is the same.
 */
import { createHash } from 'node:crypto';
import { asciiLower } from '../databases/identifiers.ts';
import type { Policies } from '../contract.ts';
import type { SourceTable } from '../databases/sqlite/schema.ts';
import { ROW_NUMBER_COLUMN } from '../protocol.ts';

/** https://www.postgresql.org/docs/current/limits.html, identifier length */
const NAME_BYTES = 63;

/** What stands for a name that PostgreSQL cannot have. */
const UNNAMED = 'unnamed';

const SYSTEM_COLUMNS = new Set(['tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid']);

/** Why a table or column cannot keep its name, null where it can. */
export function nameFault(name: string, of: 'table' | 'column'): string | null {
  if (name === '') return 'its name is empty, which PostgreSQL does not allow';
  if (name.includes('\0')) return 'its name has a NUL character, which PostgreSQL does not allow';
  const bytes = Buffer.byteLength(name);
  if (bytes > NAME_BYTES) return `its name has ${bytes} bytes, and PostgreSQL keeps ${NAME_BYTES}`;
  if (of === 'column' && SYSTEM_COLUMNS.has(name)) return 'PostgreSQL has a system column of this name';
  if (of === 'column' && name === ROW_NUMBER_COLUMN) return 'crossfade has a column of this name';
  if (of === 'table' && name.startsWith('pg_'))
    return 'PostgreSQL looks for names that begin with pg_ in its catalogs first';
  return null;
}

/** A table and its columns as the target calls them. */
export interface TargetNames {
  name: string;
  /** By the name on the source, in the table's order. */
  columns: Map<string, string>;
}

export interface ReservedNames {
  of(table: SourceTable): TargetNames;
  /** Of a view with these columns. */
  ofView(name: string, columns: string[]): TargetNames;
  /** Name on the target of every index that CREATE INDEX made. */
  indexes: Map<string, string>;
  /** Takes a name of our own making, changed where it is too long or taken. */
  ours(wanted: string): string;
}

/**
 * Tables, views and columns keep their names where they can, and so do indexes; what we name ourselves comes after all of
 * these. A name that is too long is cut as PostgreSQL itself cuts it, so that SQL which writes it in full finds it.
 */
export function reserveNames(
  tables: SourceTable[],
  views: { name: string }[],
  identifiers: Policies['identifiers'],
): ReservedNames {
  const taken = new Set<string>();
  const wanted = (name: string): string => (identifiers === 'lower' ? asciiLower(name) : name);
  const named = chosen([...tables, ...views], ({ name }) => wanted(name), 'table', taken);
  const viewNames = new Map(views.map((view) => [view.name, named.get(view)!]));
  const created = tables.flatMap((table) => table.indexes.filter((index) => index.origin === 'c'));
  const indexes = new Map(
    created.map((index) => [index.name, freeName(possible(wanted(index.name), 'index'), taken)]),
  );
  const columnsOf = (columns: { name: string }[]): Map<string, string> => {
    const names = chosen(columns, ({ name }) => wanted(name), 'column', new Set());
    return new Map(columns.map((column) => [column.name, names.get(column)!]));
  };
  const names = new Map(
    tables.map((table) => [table, { name: named.get(table)!, columns: columnsOf(table.columns) }]),
  );
  return {
    of: (table) => names.get(table)!,
    ofView: (name, columns) => ({
      name: viewNames.get(name)!,
      columns: columnsOf(columns.map((column) => ({ name: column }))),
    }),
    indexes,
    ours: (name) => freeName(name, taken),
  };
}

/** Those that can keep their names come first, so that no other takes one of these. */
function chosen<T>(
  things: T[],
  wanted: (thing: T) => string,
  of: 'table' | 'column',
  taken: Set<string>,
): Map<T, string> {
  const faulty = (thing: T): boolean => nameFault(wanted(thing), of) !== null;
  const names = new Map<T, string>();
  for (const thing of [...things.filter((t) => !faulty(t)), ...things.filter(faulty)]) {
    names.set(thing, freeName(possible(wanted(thing), of), taken));
  }
  return names;
}

/** A name as near as can be to one that PostgreSQL does not allow, but for its length. */
function possible(name: string, of: 'table' | 'column' | 'index'): string {
  const plain = name.replaceAll('\0', '_');
  if (plain === '') return UNNAMED;
  if (of === 'column' && (SYSTEM_COLUMNS.has(plain) || plain === ROW_NUMBER_COLUMN)) return `${plain}_`;
  return of === 'table' && plain.startsWith('pg_') ? `_${plain}` : plain;
}

/** A plan tells a name on the target only where it is another. */
export function renamed(name: string, targetName: string): { targetName?: string } {
  return name === targetName ? {} : { targetName };
}

/** The name, or one made from it where it is too long or taken; it is taken from then on. */
export function freeName(wanted: string, taken: Set<string>): string {
  let name = shortened(wanted, NAME_BYTES);
  for (let i = 0; taken.has(name); i++) {
    const suffix = `_${createHash('sha256').update(`${i}:${wanted}`).digest('hex').slice(0, 8)}`;
    name = shortened(wanted, NAME_BYTES - suffix.length) + suffix;
  }
  taken.add(name);
  return name;
}

/** The longest beginning of at most so many bytes that ends at a character. */
function shortened(name: string, bytes: number): string {
  const buffer = Buffer.from(name);
  if (buffer.length <= bytes) return name;
  let end = bytes;
  while (end > 0 && (buffer[end]! & 0xc0) === 0x80) end--;
  return buffer.toString('utf8', 0, end);
}
