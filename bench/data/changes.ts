/** Changes to a generated source, as an application makes them: for measuring replay. */
import Database from 'better-sqlite3';
import { Random } from './random.ts';
import { account, event, rating } from './rows.ts';
import { sharesOf } from './schema.ts';

const CHANGES_PER_TRANSACTION = 1_000;

/**
 * Makes `changes` changes of single rows: half updates, a third inserts, the rest deletes, over all three tables.
 * @param rows rows that the source was generated with
 * @param round number of the call: keys of inserted rows do not recur
 */
export function makeChanges(path: string, rows: number, changes: number, round: number): void {
  const db = new Database(path);
  try {
    db.pragma('synchronous = OFF');
    const random = new Random(1_000 + round);
    const { accounts, events } = sharesOf(rows);
    const fresh = rows * 10 + round * changes;
    const run = {
      insertAccount: db.prepare(`INSERT INTO account VALUES (?, ?, ?, ?, ?, ?, ?, ?)`),
      insertEvent: db.prepare(`INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)`),
      insertRating: db.prepare(`INSERT INTO rating VALUES (?, ?, ?, ?, ?)`),
      updateAccount: db.prepare(`UPDATE account SET about = ?, score = ? WHERE id = ?`),
      updateEvent: db.prepare(`UPDATE event SET amount = ?, note = ? WHERE id = ?`),
      updateRating: db.prepare(`UPDATE rating SET stars = ? WHERE account_id = ? AND item = 'item-000000'`),
      deleteEvent: db.prepare(`DELETE FROM event WHERE id = ?`),
    };
    const change = (i: number): void => {
      switch (i % 6) {
        case 0:
          run.updateAccount.run(random.text(80), random.double(), 1 + random.below(accounts));
          break;
        case 1:
          run.updateRating.run(1 + random.below(5), 1 + random.below(accounts));
          break;
        case 2:
          run.updateEvent.run(random.below(1_000_000) / 100, random.text(40), 1 + random.below(events));
          break;
        case 3:
          run.deleteEvent.run(1 + random.below(events));
          break;
        case 4:
          run.insertEvent.run(...event(random, fresh + i, accounts));
          break;
        default:
          if (i % 12 === 5) run.insertAccount.run(...account(random, fresh + i));
          else run.insertRating.run(...rating(random, fresh + i, accounts));
      }
    };
    for (let from = 0; from < changes; from += CHANGES_PER_TRANSACTION) {
      const to = Math.min(changes, from + CHANGES_PER_TRANSACTION);
      db.transaction(() => {
        for (let i = from; i < to; i++) change(i);
      })();
    }
  } finally {
    db.close();
  }
}
