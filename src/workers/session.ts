/**
 * Read-your-writes across isolates: a text that the application keeps with its user, in a cookie for instance, says how far
 * replay must have come before that user's reads may go to the target.
 */
import type { NeededPosition, NotedWrites } from '../router/own-writes.ts';
import type { Target } from '../router/target.ts';

export class Session implements NeededPosition, NotedWrites {
  #position = 0;
  /** Whose log the position is in. */
  #migration = '';
  readonly #shared: NeededPosition & NotedWrites;
  readonly #current: () => string | undefined;

  /**
   * @param current the migration whose log the target follows, as far as that is known
   * @param text of an earlier session; what is none counts as a session without writes, because cookies are the user's
   */
  constructor(
    shared: NeededPosition & NotedWrites,
    current: () => string | undefined,
    text: string | null | undefined,
  ) {
    this.#shared = shared;
    this.#current = current;
    const [, position, migration] = /^(\d{1,15})\.([\w%.!~*'()-]+)$/.exec(text ?? '') ?? [];
    if (position === undefined || migration === undefined) return;
    try {
      this.#migration = decodeURIComponent(migration);
      this.#position = Number(position);
    } catch {
      // No text of ours.
    }
  }

  /** The migration that the next write's position belongs to. */
  writesTo(migration: string | undefined): void {
    if (migration === undefined || migration === this.#migration) return;
    this.#migration = migration;
    this.#position = 0;
  }

  note(key: string | undefined, position: number): void {
    this.#shared.note(key, position);
    this.#position = Math.max(this.#position, position);
  }

  needed(key: string | undefined): number {
    const own = (this.#current() ?? this.#migration) === this.#migration ? this.#position : 0;
    return Math.max(own, this.#shared.needed(key));
  }

  /** The session as text; undefined where the target has all of it, as far as it was seen. */
  text(target: Target | undefined): string | undefined {
    if (this.#position === 0 || (this.#current() ?? this.#migration) !== this.#migration) return undefined;
    if (target?.view.control === 'present' && target.position >= this.#position) return undefined;
    return `${this.#position}.${encodeURIComponent(this.#migration)}`;
  }
}
