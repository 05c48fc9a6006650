/** Read-your-writes: how far replay must have come before a reader may be sent to the target. */

/** Keys remembered at most; beyond, all forgotten keys count as written when the newest of them was. */
const MAX_KEYS = 50_000;

/** How far replay must have come for a reader. */
export interface NeededPosition {
  needed(key: string | undefined): number;
}

/** Where writes are remembered. */
export interface NotedWrites {
  note(key: string | undefined, position: number): void;
}

export class OwnWrites implements NeededPosition, NotedWrites {
  /** By key, in order of position, because a key that is written again moves to the end. */
  readonly #positions = new Map<string, number>();
  /** Of any write, with or without a key. */
  #latest = 0;
  /** Of the newest write whose key had to be forgotten. */
  #forgotten = 0;
  #migration: string | undefined;

  note(key: string | undefined, position: number): void {
    if (position > this.#latest) this.#latest = position;
    if (key === undefined) return;
    const known = this.#positions.get(key) ?? 0;
    this.#positions.delete(key);
    this.#positions.set(key, Math.max(known, position));
    if (this.#positions.size > MAX_KEYS) {
      const [oldest] = this.#positions;
      if (oldest !== undefined) this.#forget(oldest[0], oldest[1]);
    }
  }

  /** The position that the reader must see: of its key's writes, or of all writes for a reader without a key. */
  needed(key: string | undefined): number {
    if (key === undefined) return this.#latest;
    return Math.max(this.#positions.get(key) ?? 0, this.#forgotten);
  }

  /** Forgets what the target has. */
  passed(position: number): void {
    for (const [key, written] of this.#positions) {
      if (written > position) break;
      this.#positions.delete(key);
    }
    if (this.#forgotten <= position) this.#forgotten = 0;
    if (this.#latest <= position) this.#latest = 0;
  }

  /** Forgets what the target has; positions of another migration mean nothing. */
  follow(migration: string, position: number): void {
    if (this.#migration !== undefined && this.#migration !== migration) this.passed(Number.POSITIVE_INFINITY);
    this.#migration = migration;
    this.passed(position);
  }

  get size(): number {
    return this.#positions.size;
  }

  #forget(key: string, position: number): void {
    this.#positions.delete(key);
    this.#forgotten = Math.max(this.#forgotten, position);
  }
}
