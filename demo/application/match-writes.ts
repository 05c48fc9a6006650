/** Writes to matches: upserts, REPLACE over a composite key, deletes. */
import { sentence } from '../database/phrases.ts';
import type { Random } from '../database/random.ts';
import type { OwnedContent } from './holdings.ts';
import type { Values } from './journal.ts';
import { bound, changedOnly, deleteRow, now, returnedRow, send, type Lane } from './sending.ts';
import type { Sql } from './store.ts';

function matchValues(random: Random, userId: number, contentId: number): Values {
  return {
    user_id: userId,
    content_id: contentId,
    score: random.fraction(),
    status: random.pick(['proposed', 'accepted', 'declined']),
    reason: random.chance(0.3) ? null : sentence(random, 5),
  };
}

/** Half of the time a match that exists already. */
function pickMatch({ own, random }: Lane): { userId: number; content: OwnedContent } | undefined {
  const known = random.chance(0.5) ? own.matches[random.below(own.matches.length)] : undefined;
  const content =
    known === undefined
      ? own.pickContent(random)
      : own.content.find((candidate) => candidate.id === known.contentId);
  const userId = known?.userId ?? own.pickUser(random);
  return content === undefined || userId === undefined ? undefined : { userId, content };
}

export async function match(lane: Lane): Promise<void> {
  const chosen = pickMatch(lane);
  if (chosen === undefined) return;
  const { userId, content } = chosen;
  const values = matchValues(lane.random, userId, content.id);
  const columns = ['score', 'status', 'reason'];
  const sql = `INSERT INTO matches (user_id, content_id, score, status, reason) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (user_id, content_id) DO UPDATE SET ${columns.map((c) => `${c} = excluded.${c}`).join(', ')}
    RETURNING created_at`;
  const done = await send(lane, {
    operation: 'match',
    owners: { users: [userId, content.userId], content: [content.id] },
    effects: [{ kind: 'upsert', table: 'matches', values }],
    changes: 1,
    send: async (store) => returnedRow(await store.write(sql, bound(values))),
  });
  if (done !== null) lane.own.addMatch(userId, content.id);
}

export async function replaceMatch(lane: Lane): Promise<void> {
  const chosen = pickMatch(lane);
  if (chosen === undefined) return;
  const { userId, content } = chosen;
  const values: Values = { ...matchValues(lane.random, userId, content.id), created_at: now() };
  const columns = Object.keys(values);
  const into = `INTO matches (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`;
  const sql: Sql = {
    sqlite: `REPLACE ${into}`,
    postgres: `INSERT ${into} ON CONFLICT (user_id, content_id) DO UPDATE SET
      ${columns
        .slice(2)
        .map((column) => `${column} = excluded.${column}`)
        .join(', ')}`,
  };
  const done = await send(lane, {
    operation: 'replace match',
    owners: { users: [userId, content.userId], content: [content.id] },
    effects: [{ kind: 'replace', table: 'matches', values }],
    changes: 1,
    send: async (store) => changedOnly(await store.write(sql, bound(values))),
  });
  if (done !== null) lane.own.addMatch(userId, content.id);
}

export async function deleteMatch(lane: Lane): Promise<void> {
  const { own, random } = lane;
  const chosen = own.matches[random.below(own.matches.length)];
  if (chosen === undefined) return;
  const { userId, contentId } = chosen;
  const owners = { users: [userId], content: [contentId] };
  const done = await deleteRow(lane, 'matches', { user_id: userId, content_id: contentId }, owners);
  if (done) own.matches = own.matches.filter((row) => row !== chosen);
}
