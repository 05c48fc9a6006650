/** Random writes of an application on SQLite: transactions that may end either way, of statements that may be refused. */
import type Database from 'better-sqlite3';
import fc from 'fast-check';
import { insertSql, quoted, type Table } from './ddl.ts';

interface Statement {
  kind: 'insert' | 'upsert' | 'update' | 'delete' | 'select' | 'all' | 'vacuum';
  table: number;
  resolution: string;
  /** Which value of its pool each column takes. */
  row: number[];
  /** Which columns an update sets. */
  set: number[];
  /** Which column, and which of its values, a condition asks for. */
  where: [number, number];
  rowid: number | null;
}

const anyStatement: fc.Arbitrary<Statement> = fc.record({
  kind: fc.oneof(
    { weight: 6, arbitrary: fc.constant('insert' as const) },
    { weight: 3, arbitrary: fc.constant('upsert' as const) },
    { weight: 7, arbitrary: fc.constant('update' as const) },
    { weight: 3, arbitrary: fc.constant('delete' as const) },
    { weight: 1, arbitrary: fc.constantFrom('all' as const, 'vacuum' as const, 'select' as const) },
  ),
  table: fc.nat(3),
  resolution: fc.constantFrom('', '', 'OR REPLACE', 'OR REPLACE', 'OR IGNORE', 'OR FAIL', 'OR ROLLBACK'),
  row: fc.array(fc.nat(6), { minLength: 8, maxLength: 8 }),
  set: fc.uniqueArray(fc.nat(7), { minLength: 1, maxLength: 3 }),
  where: fc.tuple(fc.nat(7), fc.nat(6)),
  rowid: fc.oneof({ weight: 6, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.nat(8) }),
});

/** Several statements with a savepoint around the last ones, or a statement alone. */
export interface Transaction {
  end: 'none' | 'COMMIT' | 'ROLLBACK';
  statements: Statement[];
  savepoint: { statements: Statement[]; undo: boolean } | null;
}

const anyTransaction: fc.Arbitrary<Transaction> = fc.record({
  end: fc.constantFrom('none', 'none', 'COMMIT', 'COMMIT', 'ROLLBACK'),
  statements: fc.array(anyStatement, { minLength: 1, maxLength: 4 }),
  savepoint: fc.option(
    fc.record({ statements: fc.array(anyStatement, { maxLength: 3 }), undo: fc.boolean() }),
  ),
});

export const anyWrites: fc.Arbitrary<Transaction[]> = fc.array(anyTransaction, { maxLength: 8 });

function statementSql(statement: Statement, tables: Table[]): string {
  const table = tables[statement.table % tables.length]!;
  const name = quoted(table.name);
  const column = (place: number): Table['columns'][number] => table.columns[place % table.columns.length]!;
  const value = (place: number): string => {
    const { pool } = column(place);
    return pool[statement.row[place % table.columns.length]! % pool.length]!;
  };
  const of = column(statement.where[0]);
  const where = `WHERE ${quoted(of.name)} IS ${of.pool[statement.where[1] % of.pool.length]!}`;
  const places = new Set(statement.set.map((place) => place % table.columns.length));
  const assignments = [...places].map((place) => `${quoted(column(place).name)} = ${value(place)}`);
  if (statement.rowid !== null && table.rowid !== undefined)
    assignments.push(`${table.rowid} = ${statement.rowid}`);
  const or = statement.resolution === '' ? '' : `${statement.resolution} `;
  const insert = insertSql(table, statement.row);
  switch (statement.kind) {
    case 'insert':
      return insert.replace('INSERT ', `INSERT ${or}`);
    case 'upsert':
      return `${insert} ON CONFLICT DO UPDATE SET ${assignments.join(', ')}`;
    case 'update':
      return `UPDATE ${or}${name} SET ${assignments.join(', ')} ${where}`;
    case 'delete':
      return `DELETE FROM ${name} ${where}`;
    case 'select': {
      const list = table.columns.map(({ name }) => quoted(name)).join(', ');
      return `INSERT ${or}INTO ${name} (${list}) SELECT ${list} FROM ${name} WHERE true`;
    }
    case 'all':
      return `DELETE FROM ${name}`;
    case 'vacuum':
      return 'VACUUM';
  }
}

/**
 * What SQLite refuses for the application's own reasons: constraints, a rowid that is NULL or no integer, a statement that
 * is not for a transaction, arithmetic that overflows.
 */
function isRefusal(error: unknown): boolean {
  const code = String((error as { code?: unknown }).code);
  const message = String((error as { message?: unknown }).message);
  return (
    /^SQLITE_(CONSTRAINT|MISMATCH)/.test(code) ||
    /cannot VACUUM|integer overflow|malformed JSON|foreign key mismatch|no transaction is active|no such savepoint/.test(
      message,
    )
  );
}

/** Runs statements on one connection and notes them. */
export class Writer {
  private readonly db: Database.Database;
  private readonly done: string[];

  /** @param done takes the statements, those that were refused as comments */
  constructor(db: Database.Database, done: string[]) {
    this.db = db;
    this.done = done;
  }

  /** @returns whether the statement went through */
  run(sql: string): boolean {
    const accepted = this.attempt(sql);
    if (!accepted) this.done.push(`-- refused: ${sql.replaceAll('\n', '\n-- ')}`);
    return accepted;
  }

  private attempt(sql: string): boolean {
    try {
      this.db.exec(sql);
    } catch (error) {
      if (isRefusal(error)) return false;
      throw new Error(`the application's own statement failed: ${sql}`, { cause: error });
    }
    this.done.push(`${sql};`);
    return true;
  }

  /** Every row that some order lets in: one that is refused may follow another. */
  insertAll(tables: Table[]): void {
    let waiting = tables.flatMap((table) => table.rows.map((row) => insertSql(table, row)));
    for (;;) {
      const refused = waiting.filter((sql) => !this.attempt(sql));
      if (refused.length === waiting.length) return;
      waiting = refused;
    }
  }

  transactions(transactions: Transaction[], tables: Table[]): void {
    for (const { end, statements, savepoint } of transactions) {
      if (end !== 'none') this.run('BEGIN');
      for (const statement of statements) this.run(statementSql(statement, tables));
      if (savepoint !== null && this.db.inTransaction) {
        this.run('SAVEPOINT sp');
        for (const statement of savepoint.statements) this.run(statementSql(statement, tables));
        if (savepoint.undo) this.run('ROLLBACK TO sp');
        this.run('RELEASE sp');
      }
      // OR ROLLBACK may have ended it; a deferred foreign key may refuse the COMMIT.
      if (this.db.inTransaction && !this.run(end === 'ROLLBACK' ? 'ROLLBACK' : 'COMMIT'))
        this.run('ROLLBACK');
    }
  }
}
