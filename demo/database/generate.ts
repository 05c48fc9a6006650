/** Makes the SQLite database of the demo: the same seed and number of users give the same rows. */
import Database from 'better-sqlite3';
import { INDEXES_SQL, TABLES_SQL } from './schema.ts';
import { personName, sentence } from './phrases.ts';
import { Random } from './random.ts';

/** Rows of a table per user: 100,000 users are 1,000,000 rows. */
const PER_USER = { content: 2.5, matches: 1.5, analytics: 4.5, subscriptions: 0.5 } as const;

const BLOCK = 5_000;
const DAY_MS = 86_400_000;
const EPOCH = Date.UTC(2023, 0, 1);

export interface GenerateOptions {
  /** A path where no file is yet. */
  path: string;
  users: number;
  seed: number;
  onProgress?: (rows: number, total: number) => void;
}

export interface Generated {
  rows: Record<string, number>;
  total: number;
}

type Values = (string | number | null | Buffer)[];

/**
 * Writes the database and leaves it in WAL mode. It gives the event loop a turn every few thousand rows, so that
 * servers can be started meanwhile; the indexes at the end take about a second each for a million rows.
 */
export async function generateDatabase(options: GenerateOptions): Promise<Generated> {
  const counts: Record<string, number> = { users: options.users };
  for (const [table, factor] of Object.entries(PER_USER)) counts[table] = Math.round(options.users * factor);
  const total = Object.values(counts).reduce((sum, n) => sum + n, 0);

  const db = new Database(options.path);
  try {
    // Nobody else has the file yet, and a run that fails throws it away: no journal, no fsync.
    db.pragma('journal_mode = OFF');
    db.pragma('synchronous = OFF');
    db.pragma('foreign_keys = OFF');
    db.pragma('cache_size = -65536');
    db.exec(TABLES_SQL);

    let done = 0;
    for (const [table, row] of rowMakers(new Random(options.seed), options.users, counts)) {
      const count = counts[table] as number;
      let insert: Database.Statement | undefined;
      const block = db.transaction((from: number, to: number) => {
        for (let i = from; i < to; i++) {
          const values = row(i);
          insert ??= db.prepare(`INSERT INTO ${table} VALUES (${values.map(() => '?').join(', ')})`);
          insert.run(values);
        }
      });
      for (let from = 0; from < count; from += BLOCK) {
        block(from, Math.min(count, from + BLOCK));
        done += Math.min(BLOCK, count - from);
        options.onProgress?.(done, total);
        await turn();
      }
    }
    for (const sql of INDEXES_SQL) {
      db.exec(sql);
      await turn();
    }
    db.exec('ANALYZE');
    db.pragma('journal_mode = WAL');
  } finally {
    db.close();
  }
  return { rows: counts, total };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** One function per table, parents first, that makes row number i, 0-based. */
function rowMakers(
  random: Random,
  users: number,
  counts: Record<string, number>,
): [table: string, row: (i: number) => Values][] {
  const content = counts['content'] as number;
  const author = (contentId: number): number => ((contentId - 1) % users) + 1;
  return [
    ['users', (i) => userRow(random, i + 1)],
    ['content', (i) => contentRow(random, i + 1, author(i + 1))],
    ['matches', (i) => matchRow(random, i, users)],
    ['analytics', (i) => analyticsRow(random, i + 1, content, author)],
    ['subscriptions', (i) => subscriptionRow(random, i + 1, users)],
  ];
}

function userRow(random: Random, id: number): Values {
  const name = personName(random);
  return [
    id,
    `user${id}@${random.pick(['example.com', 'example.org', 'bücher.example'])}`,
    `${random.pick(['ada', 'zoe', 'kai', 'mika', 'noor'])}_${id.toString(36)}`,
    random.chance(0.02) ? null : name,
    random.chance(0.3) ? null : sentence(random, 4 + random.below(8)),
    random.pick(['creator', 'creator', 'creator', 'brand', 'editor']),
    random.chance(0.9) ? 'active' : random.pick(['suspended', 'invited']),
    random.chance(0.8) ? 1 : 0,
    random.below(1_000),
    random.chance(0.2) ? null : random.fraction() * 5,
    random.chance(0.05) ? random.bytes(64 + random.below(192)) : null,
    random.chance(0.1)
      ? null
      : JSON.stringify({ theme: random.pick(['dark', 'light']), lang: random.pick(['en', 'tr', '日本語']) }),
    dateTime(random),
    random.chance(0.15) ? null : dateTime(random),
  ];
}

function contentRow(random: Random, id: number, userId: number): Values {
  const published = random.chance(0.6);
  return [
    id,
    userId,
    `post-${id.toString(36)}-${random.pick(['remix', 'story', 'été', '中文'])}`,
    sentence(random, 3 + random.below(4)),
    random.chance(0.05) ? null : sentence(random, 8 + random.below(20)),
    published ? 'published' : random.pick(['draft', 'review', 'archived']),
    JSON.stringify([random.pick(['music', 'travel', 'diy']), random.pick(['short', 'long', 'naïve'])]),
    random.below(100_000),
    random.chance(0.1) ? 1 : 0,
    dateTime(random),
    published ? dateTime(random) : null,
  ];
}

/** There are fewer matches than content, so one each keeps the keys distinct without remembering them. */
function matchRow(random: Random, i: number, users: number): Values {
  const contentId = i + 1;
  const userId = ((i * 7) % users) + 1;
  return [
    userId,
    contentId,
    random.fraction(),
    random.pick(['proposed', 'accepted', 'declined']),
    random.chance(0.5) ? null : sentence(random, 4),
    dateTime(random),
  ];
}

function analyticsRow(random: Random, id: number, content: number, author: (id: number) => number): Values {
  const contentId = random.below(content) + 1;
  const views = random.below(10_000);
  return [
    id,
    author(contentId),
    contentId,
    dateTime(random).slice(0, 10),
    views,
    random.below(views + 1),
    random.chance(0.1) ? null : random.fraction(),
    random.chance(0.3) ? null : random.below(100_000) / 100,
    random.pick(['search', 'feed', 'share', 'direct', null]),
    random.chance(0.7)
      ? null
      : JSON.stringify({ device: random.pick(['phone', 'web']), ab: random.chance(0.5) }),
  ];
}

function subscriptionRow(random: Random, id: number, users: number): Values {
  const active = id <= users / 4;
  return [
    id,
    // The active ones each have a user of their own; the ended ones are anybody's.
    active ? id * 3 - 2 : random.below(users) + 1,
    random.pick(['starter', 'pro', 'studio']),
    active ? 'active' : random.pick(['cancelled', 'expired', 'past_due']),
    random.pick([0, 9.99, 20, 29.5, 199]),
    random.chance(0.7) ? 1 : 0,
    dateTime(random),
    active ? null : dateTime(random),
    random.chance(0.4) ? null : JSON.stringify({ method: random.pick(['card', 'iban', 'ödeme']) }),
  ];
}

/** The form of CURRENT_TIMESTAMP. */
function dateTime(random: Random): string {
  const ms = EPOCH + random.below(900) * DAY_MS + random.below(86_400) * 1_000;
  return new Date(ms).toISOString().slice(0, 19).replace('T', ' ');
}
