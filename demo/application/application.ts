/** The strategy's application: lanes of users who read and write, each with its own rows. */
import { Random } from '../database/random.ts';
import { Client } from './client.ts';
import { Figures, type ApplicationFigures } from './figures.ts';
import { Holdings, type OwnedContent } from './holdings.ts';
import { Journal } from './journal.ts';
import { Pace } from './pace.ts';
import { READS } from './reads.ts';
import type { Lane } from './sending.ts';
import type { Store } from './store.ts';
import { WRITES } from './writes.ts';

export interface ApplicationOptions {
  store: Store;
  /** A file that does not exist yet. */
  journalPath: string;
  operationsPerSecond: number;
  lanes: number;
  seed: number;
  /** Told of every unexpected failure, for the log. */
  onError?: (message: string) => void;
}

export class Application {
  readonly #options: ApplicationOptions;
  readonly #journal: Journal;
  readonly #figures: Figures;
  readonly #pace: Pace;
  #lanes: Promise<void>[] = [];

  constructor(options: ApplicationOptions) {
    this.#options = options;
    this.#figures = new Figures(options.onError);
    this.#journal = new Journal(options.journalPath);
    this.#pace = new Pace(options.operationsPerSecond);
  }

  /** Divides the rows among the lanes and begins to serve. */
  async start(): Promise<void> {
    const { store, lanes, seed } = this.#options;
    const users = await store.query<{ id: number }>(`SELECT id FROM users ORDER BY id`, [], {
      primary: true,
    });
    const content = await store.query<{ id: number; user_id: number }>(
      `SELECT id, user_id FROM content ORDER BY id`,
      [],
      { primary: true },
    );
    // Names of this run only, so that a second run on the same database does not collide with the first.
    const run = Date.now().toString(36);
    this.#lanes = Array.from({ length: lanes }, (_, lane) => {
      const mine = (userId: number): boolean => userId % lanes === lane;
      const ownUsers = users.map(({ id }) => id).filter(mine);
      const ownContent: OwnedContent[] = [];
      for (const row of content) if (mine(row.user_id)) ownContent.push({ id: row.id, userId: row.user_id });
      let names = 0;
      return this.#serve({
        client: new Client(store.forUser?.() ?? store, this.#journal, this.#figures),
        own: new Holdings(ownUsers, ownContent),
        random: new Random(seed * 1_000 + lane + 1),
        uniqueName: () => `live-${run}-${lane}-${++names}`,
      });
    });
  }

  async #serve(lane: Lane): Promise<void> {
    const operations = [
      ...READS.map(({ weight, run }) => ({ weight, run: () => run(lane.client, lane.own, lane.random) })),
      ...WRITES.map(({ weight, run }) => ({ weight, run: () => run(lane) })),
    ];
    const total = operations.reduce((sum, { weight }) => sum + weight, 0);
    while (await this.#pace.turn()) {
      let point = lane.random.below(total);
      const chosen = operations.find(({ weight }) => (point -= weight) < 0);
      await chosen?.run();
    }
  }

  /** The figures since the last call. */
  figures(): ApplicationFigures {
    return this.#figures.take(this.#options.store.primary());
  }

  alert(name: string): void {
    this.#figures.alert(name);
  }

  /** Takes no more operations, waits for those under way and closes the journal. */
  async stop(): Promise<void> {
    this.#pace.stop();
    try {
      await Promise.all(this.#lanes);
    } finally {
      this.#journal.close();
    }
  }
}
