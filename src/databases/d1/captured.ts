/** What the capture triggers of a source say about themselves: which table has which number and key. */
import { SQLITE_PREFIX } from '../../protocol.ts';
import type { MasterItem } from './mirror-file.ts';

export interface CapturedTable {
  /** As in the log's column `t`. */
  id: number;
  name: string;
  /** Columns of the key, in the order of the log's columns k0, k1, … */
  key: string[];
}

const INSERT_TRIGGER = new RegExp(`^${SQLITE_PREFIX}(\\d+)_insert$`);
const KEY_COLUMN = /\bNEW\.("(?:[^"]|"")*")/g;

export function capturedTables(items: MasterItem[]): CapturedTable[] {
  return items.flatMap(({ type, name, table, sql }) => {
    const id = type === 'trigger' ? INSERT_TRIGGER.exec(name)?.[1] : undefined;
    if (id === undefined || sql === null) return [];
    const body = sql.slice(sql.indexOf('BEGIN'));
    const key = [...body.matchAll(KEY_COLUMN)].map(([, column]) =>
      column!.slice(1, -1).replaceAll('""', '"'),
    );
    return [{ id: Number(id), name: table, key }];
  });
}

/** Is every change of the source logged? */
export function isCaptured(items: MasterItem[]): boolean {
  return items.some(({ name }) => name === `${SQLITE_PREFIX}log_cap`);
}
