/**
 * Names on the target. PostgreSQL keeps 63 bytes of a name, and tables, indexes and sequences of a schema share one
 * name space. Every choice is deterministic, so that a plan made again is the same.
 */
import { createHash } from 'node:crypto';
import type { SourceTable } from '../databases/sqlite/schema.ts';

/** https://www.postgresql.org/docs/current/limits.html, identifier length */
const NAME_BYTES = 63;

const SYSTEM_COLUMNS = new Set(['tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid']);

/** Why a table or column cannot keep its name, null where it can. */
export function nameFault(name: string, of: 'table' | 'column'): string | null {
  if (name === '') return 'its name is empty, which PostgreSQL does not allow';
  const bytes = Buffer.byteLength(name);
  if (bytes > NAME_BYTES) return `its name has ${bytes} bytes, and PostgreSQL keeps ${NAME_BYTES}`;
  if (of === 'column' && SYSTEM_COLUMNS.has(name)) return 'PostgreSQL has a system column of this name';
  if (of === 'table' && name.startsWith('pg_'))
    return 'PostgreSQL keeps names that begin with pg_ for its catalogs';
  return null;
}

export interface ReservedNames {
  /** Name on the target of every index that CREATE INDEX made. */
  indexes: Map<string, string>;
  /** Takes a name of our own making, changed where it is too long or taken. */
  ours(wanted: string): string;
}

/** Tables keep their names, and so do indexes where they can; what we name ourselves comes after all of these. */
export function reserveNames(tables: SourceTable[]): ReservedNames {
  const taken = new Set(tables.map((table) => table.name));
  const created = tables.flatMap((table) => table.indexes.filter((index) => index.origin === 'c'));
  const indexes = new Map(created.map((index) => [index.name, freeName(index.name, taken)]));
  return { indexes, ours: (wanted) => freeName(wanted, taken) };
}

/** The name, or one made from it where it is too long or taken; it is taken from then on. */
export function freeName(wanted: string, taken: Set<string>): string {
  let name = wanted;
  for (let i = 0; Buffer.byteLength(name) > NAME_BYTES || taken.has(name); i++) {
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
