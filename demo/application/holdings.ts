/**
 * What one lane owns. Lanes share no row, so that the order of a lane's own writes is the order of every row's values
 * and the journal tells what each row must hold.
 */
import type { Random } from '../database/random.ts';
import type { Owners } from './journal.ts';

export interface OwnedContent {
  id: number;
  userId: number;
}

/** A read that must show the lane's own last write: `row` is what it has to answer, null for no row. */
export interface Remembered {
  sql: string;
  params: number[];
  key: string;
  row: Record<string, string | number | null> | null;
}

const RECENT = 200;
/** Half of the writes go to the lane's first few rows, so that some keys change all the time. */
const HOT = 8;

export class Holdings {
  /** Users of the generated database: never deleted, they hold the credits. */
  users: number[];
  /** Users that the lane created: they come and go. */
  signups: { id: number; email: string }[] = [];
  content: OwnedContent[];
  /** The lane's own recent rows. */
  matches: { userId: number; contentId: number }[] = [];
  analytics: { id: number; contentId: number; userId: number }[] = [];
  readonly #remembered = new Map<string, Remembered>();

  constructor(users: number[], content: OwnedContent[]) {
    this.users = users;
    this.content = content;
  }

  pickUser(random: Random): number | undefined {
    return pick(random, this.users);
  }

  pickContent(random: Random): OwnedContent | undefined {
    return pick(random, this.content);
  }

  /** Of the lane's users any, new or old. */
  pickAuthor(random: Random): number | undefined {
    const signup = random.chance(0.3) ? pick(random, this.signups)?.id : undefined;
    return signup ?? this.pickUser(random);
  }

  addSignup(id: number, email: string): void {
    keepRecent(this.signups, { id, email });
  }

  addMatch(userId: number, contentId: number): void {
    if (this.matches.some((match) => match.userId === userId && match.contentId === contentId)) return;
    keepRecent(this.matches, { userId, contentId });
  }

  addAnalytics(id: number, content: OwnedContent): void {
    keepRecent(this.analytics, { id, contentId: content.id, userId: content.userId });
  }

  /** Forgets rows that are gone, or whose state is unknown, together with what hangs on them. */
  forget(owners: Owners): void {
    const users = new Set(owners.users);
    const content = new Set(owners.content);
    for (const owned of this.content) if (users.has(owned.userId)) content.add(owned.id);
    if (users.size > 0) {
      this.users = this.users.filter((id) => !users.has(id));
      this.signups = this.signups.filter(({ id }) => !users.has(id));
    }
    const gone = (row: { userId: number; contentId: number }): boolean =>
      users.has(row.userId) || content.has(row.contentId);
    this.content = this.content.filter(({ id }) => !content.has(id));
    this.matches = this.matches.filter((row) => !gone(row));
    this.analytics = this.analytics.filter((row) => !gone(row));
    for (const id of users) this.#remembered.delete(`user:${id}`);
    for (const id of content) this.#remembered.delete(`content:${id}`);
  }

  remember(read: Remembered): void {
    this.#remembered.delete(read.key);
    this.#remembered.set(read.key, read);
    const [oldest] = this.#remembered.keys();
    if (this.#remembered.size > RECENT && oldest !== undefined) this.#remembered.delete(oldest);
  }

  /** One of the lane's last writes, the latest most often: that is the one a lagging database would not show. */
  pickRemembered(random: Random): Remembered | undefined {
    const all = [...this.#remembered.values()];
    return random.chance(0.6) ? all.at(-1) : pick(random, all);
  }
}

function pick<T>(random: Random, items: readonly T[]): T | undefined {
  if (items.length === 0) return undefined;
  return items[random.below(random.chance(0.5) ? Math.min(HOT, items.length) : items.length)];
}

function keepRecent<T>(items: T[], item: T): void {
  items.push(item);
  if (items.length > RECENT) items.shift();
}
