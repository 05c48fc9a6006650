/**
 * What a client does to the database, as data: the same value is written to the journal, sent to the database and
 * folded by the checker. Every operation is one transaction.
 *
 * `entry` and `item` rows belong to one client, which alone changes them; accounts and counters belong to all, so each
 * operation on them also inserts a row into `operation`, which tells afterwards whether it was applied, and how often.
 */

export type Operation =
  | { kind: 'insert' | 'upsert' | 'replace'; k: number; slot: number | null; v: string }
  | { kind: 'update'; k: number; v: string }
  | { kind: 'rekey'; k: number; to: number }
  | { kind: 'delete'; k: number }
  | { kind: 'swap'; a: number; b: number; slots: [number, number] }
  | { kind: 'item'; k: number; note: string }
  | { kind: 'transfer'; from: number; to: number; amount: number }
  | { kind: 'count'; counter: number };

export type Kind = Operation['kind'];

/** SQL with `?`, or one text for each database where none serves both. */
export interface Statement {
  sql: string | { sqlite: string; postgres: string };
  params: (string | number | null)[];
  /** Any other statement changes a row, by what its client knows. */
  mayChangeNothing?: true;
}

/** The statements of an operation, in order, for one transaction. `number`: that of the operation within its client. */
export function statements(client: number, number: number, operation: Operation): Statement[] {
  const at = 'WHERE client = ? AND k = ?';
  const mark: Statement = {
    sql: 'INSERT INTO operation (client, number) VALUES (?, ?)',
    params: [client, number],
  };
  const insert = 'INTO entry (client, k, slot, v) VALUES (?, ?, ?, ?)';
  switch (operation.kind) {
    case 'insert':
      return [{ sql: `INSERT ${insert}`, params: [client, operation.k, operation.slot, operation.v] }];
    case 'upsert':
      return [
        {
          sql: `INSERT ${insert} ON CONFLICT (client, k) DO UPDATE SET v = excluded.v, slot = excluded.slot, n = entry.n + 1`,
          params: [client, operation.k, operation.slot, operation.v],
        },
      ];
    case 'replace':
      return [
        {
          sql: {
            sqlite: 'DELETE FROM entry WHERE slot = ? AND client = ? AND k = ? AND 1 = 0',
            postgres: 'DELETE FROM entry WHERE slot = ? OR client = ? AND k = ?',
          },
          params: [operation.slot, client, operation.k],
          mayChangeNothing: true,
        },
        {
          sql: { sqlite: `INSERT OR REPLACE ${insert}`, postgres: `INSERT ${insert}` },
          params: [client, operation.k, operation.slot, operation.v],
        },
      ];
    case 'update':
      return [{ sql: `UPDATE entry SET n = n + 1, v = ? ${at}`, params: [operation.v, client, operation.k] }];
    case 'rekey':
      return [{ sql: `UPDATE entry SET k = ? ${at}`, params: [operation.to, client, operation.k] }];
    case 'delete':
      return [{ sql: `DELETE FROM entry ${at}`, params: [client, operation.k] }];
    case 'swap': {
      const { a, b, slots } = operation;
      const set = `UPDATE entry SET slot = ? ${at}`;
      return [
        { sql: set, params: [null, client, a] },
        { sql: set, params: [slots[0], client, b] },
        { sql: set, params: [slots[1], client, a] },
      ];
    }
    case 'item':
      return [
        {
          sql: 'INSERT INTO item (client, k, note) VALUES (?, ?, ?)',
          params: [client, operation.k, operation.note],
        },
      ];
    case 'transfer': {
      const { from, to, amount } = operation;
      return [
        mark,
        { sql: 'UPDATE account SET balance = balance - ? WHERE id = ?', params: [amount, from] },
        { sql: 'UPDATE account SET balance = balance + ? WHERE id = ?', params: [amount, to] },
      ];
    }
    case 'count':
      return [mark, { sql: 'UPDATE counter SET n = n + 1 WHERE id = ?', params: [operation.counter] }];
  }
}
