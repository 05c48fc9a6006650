/** The tables of the strategy's application: what the generator makes, the application uses and the checker compares. */

/** What a column holds, in the words of the checker: how two databases' values of it are compared. */
export type ColumnClass = 'integer' | 'number' | 'boolean' | 'text' | 'blob';

export interface TableShape {
  name: string;
  key: string[];
  /** In the order of the table. */
  columns: { name: string; holds: ColumnClass }[];
}

function shape(name: string, key: string[], columns: Record<string, ColumnClass>): TableShape {
  return { name, key, columns: Object.entries(columns).map(([column, holds]) => ({ name: column, holds })) };
}

/** Parents before children. Dates and times are text in SQLite, so they are compared as text. */
export const SHAPES: readonly TableShape[] = [
  shape('users', ['id'], {
    id: 'integer',
    email: 'text',
    username: 'text',
    display_name: 'text',
    bio: 'text',
    role: 'text',
    status: 'text',
    email_verified: 'boolean',
    credits: 'integer',
    rating: 'number',
    avatar: 'blob',
    preferences: 'text',
    created_at: 'text',
    last_login_at: 'text',
  }),
  shape('content', ['id'], {
    id: 'integer',
    user_id: 'integer',
    slug: 'text',
    title: 'text',
    body: 'text',
    status: 'text',
    tags: 'text',
    view_count: 'integer',
    sponsored: 'boolean',
    created_at: 'text',
    published_at: 'text',
  }),
  shape('matches', ['user_id', 'content_id'], {
    user_id: 'integer',
    content_id: 'integer',
    score: 'number',
    status: 'text',
    reason: 'text',
    created_at: 'text',
  }),
  shape('analytics', ['id'], {
    id: 'integer',
    user_id: 'integer',
    content_id: 'integer',
    date: 'text',
    views: 'integer',
    clicks: 'integer',
    engagement_rate: 'number',
    revenue: 'number',
    source: 'text',
    metadata: 'text',
  }),
  shape('subscriptions', ['id'], {
    id: 'integer',
    user_id: 'integer',
    plan: 'text',
    status: 'text',
    price: 'number',
    auto_renew: 'boolean',
    started_at: 'text',
    ends_at: 'text',
    payment: 'text',
  }),
];

/** @throws where there is no such table */
export function shapeOf(table: string): TableShape {
  const found = SHAPES.find((candidate) => candidate.name === table);
  if (found === undefined) throw new Error(`the demo's application has no table "${table}"`);
  return found;
}

export const TABLES_SQL = `
CREATE TABLE users (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  email TEXT NOT NULL,
  username TEXT NOT NULL UNIQUE,
  display_name TEXT,
  bio TEXT,
  role TEXT NOT NULL DEFAULT 'creator',
  status TEXT NOT NULL DEFAULT 'active',
  email_verified BOOLEAN NOT NULL DEFAULT 0,
  credits INTEGER NOT NULL DEFAULT 0,
  rating REAL,
  avatar BLOB,
  preferences TEXT,
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
  last_login_at DATETIME
);
CREATE TABLE content (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  slug TEXT NOT NULL,
  title TEXT NOT NULL,
  body TEXT,
  status TEXT NOT NULL DEFAULT 'draft',
  tags TEXT,
  view_count INTEGER NOT NULL DEFAULT 0,
  sponsored BOOLEAN NOT NULL DEFAULT 0,
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
  published_at DATETIME
);
CREATE TABLE matches (
  user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  content_id INTEGER NOT NULL REFERENCES content(id) ON DELETE CASCADE,
  score REAL NOT NULL,
  status TEXT NOT NULL DEFAULT 'proposed',
  reason TEXT,
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (user_id, content_id)
) WITHOUT ROWID;
CREATE TABLE analytics (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  content_id INTEGER NOT NULL REFERENCES content(id) ON DELETE CASCADE,
  date DATE NOT NULL,
  views INTEGER NOT NULL DEFAULT 0,
  clicks INTEGER NOT NULL DEFAULT 0,
  engagement_rate REAL,
  revenue DECIMAL(10,2),
  source TEXT,
  metadata TEXT
);
-- Without AUTOINCREMENT: SQLite would give the highest id again after its row is deleted.
CREATE TABLE subscriptions (
  id INTEGER PRIMARY KEY,
  user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  plan TEXT NOT NULL,
  status TEXT NOT NULL,
  price DECIMAL(10,2) NOT NULL,
  auto_renew BOOLEAN NOT NULL DEFAULT 1,
  started_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
  ends_at DATETIME,
  payment TEXT
);
`;

/** The strategy's indexes, and those that its unique values and foreign keys need. */
export const INDEXES_SQL: readonly string[] = [
  `CREATE UNIQUE INDEX idx_users_email ON users(email)`,
  `CREATE INDEX idx_users_created_at ON users(created_at DESC)`,
  `CREATE INDEX idx_active_users ON users(id) WHERE status = 'active'`,
  `CREATE UNIQUE INDEX idx_content_slug ON content(slug)`,
  `CREATE INDEX idx_content_user_id ON content(user_id)`,
  `CREATE INDEX idx_content_status_created ON content(status, created_at DESC)`,
  `CREATE INDEX idx_published_content ON content(id) WHERE status = 'published'`,
  `CREATE INDEX idx_matches_content ON matches(content_id)`,
  `CREATE INDEX idx_analytics_user_date ON analytics(user_id, date DESC)`,
  `CREATE INDEX idx_user_content_analytics ON analytics(user_id, content_id, date DESC)`,
  `CREATE INDEX idx_analytics_content ON analytics(content_id)`,
  `CREATE UNIQUE INDEX idx_one_active_subscription ON subscriptions(user_id) WHERE status = 'active'`,
  `CREATE INDEX idx_subscriptions_user ON subscriptions(user_id, started_at DESC)`,
];
