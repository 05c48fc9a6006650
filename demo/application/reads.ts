/** What the application reads: the strategy's queries, and its own last writes. */
import type { Random } from '../database/random.ts';
import type { Client } from './client.ts';
import type { Holdings } from './holdings.ts';

type Read = (client: Client, own: Holdings, random: Random) => Promise<void>;

/** Weights are operations in a thousand. */
export const READS: readonly { weight: number; run: Read }[] = [
  { weight: 200, run: profile },
  { weight: 60, run: feed },
  { weight: 90, run: postsOfUser },
  { weight: 90, run: analyticsOfUser },
  { weight: 30, run: engagement },
  { weight: 2, run: activeUsers },
  { weight: 140, run: ownLastWrite },
];

async function profile(client: Client, own: Holdings, random: Random): Promise<void> {
  const id = own.pickUser(random);
  if (id === undefined) return;
  await client.read(`SELECT * FROM users WHERE id = ?`, [id]);
}

async function feed(client: Client): Promise<void> {
  await client.read(
    `SELECT id, slug, title, created_at FROM content WHERE status = 'published' ORDER BY created_at DESC LIMIT 10`,
    [],
  );
}

async function postsOfUser(client: Client, own: Holdings, random: Random): Promise<void> {
  const id = own.pickUser(random);
  if (id === undefined) return;
  await client.read(
    `SELECT id, title, status, view_count FROM content WHERE user_id = ? AND sponsored = ? ORDER BY id LIMIT 20`,
    [id, 0],
  );
}

async function analyticsOfUser(client: Client, own: Holdings, random: Random): Promise<void> {
  const id = own.pickUser(random);
  if (id === undefined) return;
  await client.read(
    `SELECT date, views, clicks, engagement_rate, revenue FROM analytics
      WHERE user_id = ? AND date >= ? ORDER BY date DESC, id DESC LIMIT 50`,
    [id, '2024-01-01'],
  );
}

async function engagement(client: Client, own: Holdings, random: Random): Promise<void> {
  const id = own.pickUser(random);
  if (id === undefined) return;
  await client.read(
    `SELECT AVG(engagement_rate) AS average, COUNT(*) AS days FROM analytics WHERE user_id = ?`,
    [id],
  );
}

async function activeUsers(client: Client): Promise<void> {
  await client.read(`SELECT COUNT(*) AS users FROM users WHERE status = 'active'`, []);
}

/** Read your writes: whatever database answers, it must show what this lane was last told. */
async function ownLastWrite(client: Client, own: Holdings, random: Random): Promise<void> {
  const read = own.pickRemembered(random);
  if (read === undefined) return profile(client, own, random);
  const rows = await client.read(read.sql, read.params, read.key);
  if (rows === null) return;
  const seen = JSON.stringify(rows[0] ?? null);
  const expected = JSON.stringify(read.row);
  if (seen !== expected || rows.length > 1) {
    client.staleRead(`${read.key}: expected ${shorten(expected)}, read ${shorten(seen)}`);
  }
}

function shorten(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}
