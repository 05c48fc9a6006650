/** Writes to users and their subscriptions. */
import { personName, sentence } from '../database/phrases.ts';
import type { Sent } from './client.ts';
import type { Values } from './journal.ts';
import { ApplicationRefusal } from './outcome.ts';
import {
  NOBODY,
  bound,
  changedOnly,
  deleteRow,
  insertSql,
  now,
  returnedRow,
  send,
  type Lane,
} from './sending.ts';
import type { Session, Sql, Store } from './store.ts';

/** Users may owe as much. */
const LEAST_CREDITS = -1_000_000;

function userValues({ random }: Lane, email: string, username: string): Values {
  return {
    email,
    username,
    display_name: personName(random),
    bio: sentence(random, 5),
    rating: random.fraction() * 5,
    avatar: random.chance(0.5) ? { hex: random.bytes(32).toString('hex') } : null,
  };
}

const USER_DEFAULTS = 'id, role, status, email_verified, credits, preferences, created_at, last_login_at';

export async function signUp(lane: Lane): Promise<void> {
  const name = lane.uniqueName();
  const email = `${name}@example.com`;
  const values = userValues(lane, email, name);
  const returned = await send(lane, {
    operation: 'sign up',
    owners: NOBODY,
    effects: [{ kind: 'insert', table: 'users', values }],
    changes: 1,
    send: async (store) =>
      returnedRow(await store.write(insertSql('users', values, USER_DEFAULTS), bound(values))),
  });
  const id = returned?.[0]?.['id'];
  if (typeof id === 'number') lane.own.addSignup(id, email);
}

/** The unique index on the address has to refuse it, on whichever database. */
export async function signUpTwice(lane: Lane): Promise<void> {
  const email = lane.own.signups.at(-1)?.email;
  if (email === undefined) return;
  const values = userValues(lane, email, lane.uniqueName());
  await send(lane, {
    operation: 'sign up twice',
    owners: NOBODY,
    effects: [{ kind: 'insert', table: 'users', values }],
    changes: 1,
    mustBeRefused: true,
    send: async (store) =>
      returnedRow(await store.write(insertSql('users', values, USER_DEFAULTS), bound(values))),
  });
}

export async function updateProfile(lane: Lane): Promise<void> {
  const { own, random } = lane;
  const id = own.pickAuthor(random);
  if (id === undefined) return;
  const set: Values = {
    bio: random.chance(0.1) ? null : sentence(random, 6),
    rating: random.chance(0.1) ? null : random.fraction() * 5,
    email_verified: random.below(2),
    avatar: random.chance(0.8) ? null : { hex: random.bytes(random.below(64)).toString('hex') },
    preferences: JSON.stringify({ theme: random.pick(['dark', 'light']), lang: 'tr' }),
    last_login_at: now(),
  };
  const key = `user:${id}`;
  const sql = `UPDATE users SET ${Object.keys(set)
    .map((column) => `${column} = ?`)
    .join(', ')} WHERE id = ?`;
  const done = await send(lane, {
    operation: 'update profile',
    owners: { users: [id], content: [] },
    effects: [{ kind: 'update', table: 'users', key: [id], set }],
    changes: 1,
    send: async (store) => changedOnly(await store.write(sql, [...bound(set), id], { key })),
  });
  if (done === null) return;
  const { bio, rating, email_verified, last_login_at } = set as Record<string, string | number | null>;
  own.remember({
    sql: `SELECT bio, rating, email_verified, last_login_at FROM users WHERE id = ?`,
    params: [id],
    key,
    row: {
      bio: bio ?? null,
      rating: rating ?? null,
      email_verified: email_verified ?? null,
      last_login_at: last_login_at ?? null,
    },
  });
}

/**
 * REPLACE over a unique value that is not the key: the partial unique index allows one active subscription per user,
 * so that the new row removes the old one, without a DELETE that a trigger could see.
 */
export async function switchPlan(lane: Lane): Promise<void> {
  const userId = lane.own.pickUser(lane.random);
  if (userId === undefined) return;
  const values: Values = {
    user_id: userId,
    plan: lane.random.pick(['starter', 'pro', 'studio']),
    status: 'active',
    price: lane.random.pick([0, 9.99, 20, 29.5, 199]),
    auto_renew: lane.random.below(2),
    payment: JSON.stringify({ order: lane.uniqueName() }),
  };
  const columns = Object.keys(values).join(', ');
  // PostgreSQL has no REPLACE. The INSERT reads the count of deleted rows, so that the DELETE comes first.
  const sql: Sql = {
    sqlite: `INSERT OR REPLACE INTO subscriptions (${columns}) VALUES (?, ?, ?, ?, ?, ?)
             RETURNING id, started_at, ends_at`,
    postgres: `WITH given (${columns}) AS (
        VALUES (?::bigint, ?::text, ?::text, ?::numeric, ?::boolean, ?::text)
      ), gone AS (
        DELETE FROM subscriptions s USING given WHERE s.user_id = given.user_id AND s.status = 'active' RETURNING 1
      )
      INSERT INTO subscriptions (${columns}) SELECT given.* FROM given, (SELECT count(*) FROM gone) AS first
      RETURNING id, started_at, ends_at`,
  };
  await send(lane, {
    operation: 'switch plan',
    owners: { users: [userId], content: [] },
    effects: [{ kind: 'replace', table: 'subscriptions', values }],
    changes: 1,
    send: async (store) => returnedRow(await store.write(sql, bound(values), { key: `user:${userId}` })),
  });
}

/** Credits move between two users: their sum never changes, and an uncovered transfer is taken back as a whole. */
export async function transfer(lane: Lane): Promise<void> {
  const { own, random } = lane;
  const from = own.pickUser(random);
  const to = own.pickUser(random);
  if (from === undefined || to === undefined || from === to) return;
  const uncovered = random.chance(0.05);
  const amount = uncovered ? 1_000_000_000 : 1 + random.below(5);
  const pay = async (tx: Session): Promise<Sent> => {
    const credit = await tx.write(`UPDATE users SET credits = credits + ? WHERE id = ?`, [amount, to]);
    const debit = await tx.write(`UPDATE users SET credits = credits - ? WHERE id = ?`, [amount, from]);
    const [payer] = await tx.query<{ credits: number }>(`SELECT credits FROM users WHERE id = ?`, [from]);
    if (payer === undefined || payer.credits < LEAST_CREDITS)
      throw new ApplicationRefusal('not enough credits');
    return { changes: credit.changes + debit.changes, returned: [null, null] };
  };
  await send(lane, {
    operation: uncovered ? 'uncovered transfer' : 'transfer',
    owners: { users: [from, to], content: [] },
    effects: [
      { kind: 'update', table: 'users', key: [to], add: { credits: amount } },
      { kind: 'update', table: 'users', key: [from], add: { credits: -amount } },
    ],
    changes: 2,
    mustBeRefused: uncovered,
    send: async (store) => {
      const key = `user:${from}`;
      return store.transaction === undefined
        ? transferAtOnce(store, { from, to, amount }, key)
        : store.transaction(pay, { key });
    },
  });
}

/** The same as a batch: both statements ask whether the payer has enough, the debit last. */
async function transferAtOnce(
  store: Store,
  { from, to, amount }: { from: number; to: number; amount: number },
  key: string,
): Promise<Sent> {
  const covered = `(SELECT credits FROM users WHERE id = ?) - ? >= ${LEAST_CREDITS}`;
  const results = await store.batch(
    [
      {
        sql: `UPDATE users SET credits = credits + ? WHERE id = ? AND ${covered}`,
        params: [amount, to, from, amount],
      },
      {
        sql: `UPDATE users SET credits = credits - ? WHERE id = ? AND ${covered}`,
        params: [amount, from, from, amount],
      },
    ],
    { key },
  );
  const changes = results.reduce((sum, one) => sum + one.changes, 0);
  if (changes === 0) throw new ApplicationRefusal('not enough credits');
  return { changes, returned: [null, null] };
}

/** Takes the user's content with it, and what hangs on that. */
export async function closeAccount(lane: Lane): Promise<void> {
  const user = lane.own.signups[0];
  if (user === undefined || lane.own.signups.length < 3) return;
  const owners = { users: [user.id], content: [] };
  if (await deleteRow(lane, 'users', { id: user.id }, owners, `user:${user.id}`)) lane.own.forget(owners);
}
