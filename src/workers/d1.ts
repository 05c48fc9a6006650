/** What the router needs of a D1 binding (https://developers.cloudflare.com/d1/worker-api/), so that no types of Cloudflare's have to be installed. */

export interface D1PreparedStatement {
  bind(...values: unknown[]): D1PreparedStatement;
}

export interface D1Result {
  /** Rows by column name: a number for each integer and real, an array of bytes for a blob. */
  results: unknown[];
}

/** `env.DB`. */
export interface D1Database {
  prepare(sql: string): D1PreparedStatement;
  /** Runs all statements in one transaction. */
  batch(statements: D1PreparedStatement[]): Promise<unknown[]>;
}

/** What keeps work alive after the response: the `ctx` of a handler or of a Durable Object. */
export interface WorkerContext {
  waitUntil(work: Promise<unknown>): void;
}
