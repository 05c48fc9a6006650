/** Rows about which the journal cannot say what they must hold, and how a row that nobody expects may be explained. */
import type Database from 'better-sqlite3';
import type { Values } from '../application/journal.ts';
import { shapeOf, type TableShape } from '../database/schema.ts';
import { fromSqlite, type Cell } from './actual.ts';
import { rowName } from './expected.ts';
import type { JournalContent } from './read-journal.ts';

/** Returns a test for rows that a write with an unknown outcome may have touched, cascades included. */
export function uncertainRows(
  journal: JournalContent,
  expected: Database.Database,
): (shape: TableShape, row: Cell[]) => boolean {
  const users = new Set<string>();
  const content = new Set<string>();
  for (const n of journal.unknown) {
    const owners = journal.attempts.get(n)?.owners;
    for (const id of owners?.users ?? []) users.add(String(id));
    for (const id of owners?.content ?? []) content.add(String(id));
  }
  const ofUser = expected.prepare(`SELECT id FROM content WHERE user_id = ?`).pluck();
  for (const user of users) for (const id of ofUser.all(Number(user))) content.add(String(id));
  return (shape, row) => {
    if (users.size === 0 && content.size === 0) return false;
    return shape.columns.some(({ name }, i) => {
      const cell = row[i] ?? '';
      if (name === 'user_id' || (name === 'id' && shape.name === 'users')) return users.has(cell);
      if (name === 'content_id' || (name === 'id' && shape.name === 'content')) return content.has(cell);
      return false;
    });
  };
}

/** New rows and new values of the given attempts, to be recognised in a row that is not as expected. */
export class Attempts {
  readonly #inserts = new Map<string, { n: number; values: Values }[]>();
  readonly #updates = new Map<string, { n: number; values: Values }[]>();

  constructor(journal: JournalContent, numbers: readonly number[]) {
    for (const n of numbers) {
      for (const effect of journal.attempts.get(n)?.effects ?? []) {
        if (effect.kind === 'delete') continue;
        if (effect.kind === 'update') {
          add(this.#updates, rowName(effect.table, effect.key), { n, values: effect.set ?? {} });
          continue;
        }
        add(this.#inserts, effect.table, { n, values: effect.values });
        const key = shapeOf(effect.table).key.map((column) => effect.values[column]);
        if (key.every((value) => value !== undefined)) {
          add(this.#updates, rowName(effect.table, key), { n, values: effect.values });
        }
      }
    }
  }

  /** The attempt that would have made this row; each explains one row only. */
  takeInsert(shape: TableShape, row: Cell[]): number | undefined {
    const candidates = this.#inserts.get(shape.name) ?? [];
    const index = candidates.findIndex(({ values }) => holds(shape, row, values));
    return index < 0 ? undefined : candidates.splice(index, 1)[0]?.n;
  }

  /** An attempt that would have given this row the values it has. */
  findUpdate(shape: TableShape, name: string, row: Cell[]): number | undefined {
    return this.#updates
      .get(name)
      ?.find(({ values }) => Object.keys(values).length > 0 && holds(shape, row, values))?.n;
  }
}

function add<T>(map: Map<string, T[]>, key: string, item: T): void {
  const items = map.get(key);
  if (items === undefined) map.set(key, [item]);
  else items.push(item);
}

/** Does the row hold all of these values? */
function holds(shape: TableShape, row: Cell[], values: Values): boolean {
  return shape.columns.every(({ name, holds: columnHolds }, i) => {
    const value = values[name];
    if (value === undefined) return true;
    const plain = value !== null && typeof value === 'object' ? Buffer.from(value.hex, 'hex') : value;
    return fromSqlite(plain, columnHolds) === row[i];
  });
}
