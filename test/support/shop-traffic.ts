/** Users of the shop: each does one thing after the other, on whichever Worker, and remembers what it was told. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchOnce } from '../../cloudflare/fetch-once.ts';
import type { Note, Page, Place, Written } from './workers/shop.ts';
import { Random, seeded } from './random.ts';

export const PRODUCTS = 3;
const THINKS_MS = 8;

export interface Sale {
  id: number;
  product: number;
  user: string;
  number: number;
  place: Place;
}

export class ShopUser {
  readonly name: string;
  readonly notes = new Map<number, Note>();
  readonly sales: Sale[] = [];
  /** Where each of its notes was deleted. */
  readonly deleted = new Map<number, Place>();
  /** Of each acknowledged write, in order. */
  readonly writes: Place[] = [];
  readonly reads: Place[] = [];
  /** Requests that were not answered as they have to be, and reads that did not show what was written. */
  readonly failures: string[] = [];
  readonly #workers: string[];
  readonly #random: Random;
  #labels = 0;
  #session: string | null = null;

  constructor(name: string, workers: string[], random: Random) {
    this.name = name;
    this.#workers = workers;
    this.#random = random;
  }

  async step(): Promise<void> {
    try {
      await this.#write();
      await this.#read();
    } catch (error) {
      const { message, cause } = error as Error;
      this.failures.push(`${message}${cause === undefined ? '' : ` (${String(cause)})`}`);
    }
  }

  async #write(): Promise<void> {
    const random = this.#random;
    const known = [...this.notes.values()];
    const note = known[random.below(known.length)];
    const choice = random.next();
    if (note === undefined || choice < 0.3) {
      const label = `${this.name} ${++this.#labels}`;
      const { id, place } = await this.#told('POST', 'notes', { label });
      this.notes.set(id, { id, label, version: 1, place });
    } else if (choice < 0.6) {
      const version = note.version + 1;
      const { place } = await this.#told('PUT', `notes/${note.id}`, { version });
      this.notes.set(note.id, { ...note, version, place });
    } else if (choice < 0.75) {
      const { place } = await this.#told('DELETE', `notes/${note.id}`);
      this.notes.delete(note.id);
      this.deleted.set(note.id, place);
    } else {
      const product = 1 + random.below(PRODUCTS);
      const number = this.sales.length + 1;
      const { id, place } = await this.#told('POST', 'sales', { product, number });
      this.sales.push({ id, product, user: this.name, number, place });
    }
  }

  async #told(method: string, path: string, body?: object): Promise<Written> {
    const written = await this.#send<Written>(method, path, body);
    this.writes.push(written.place);
    return written;
  }

  /** Nobody else writes what this user reads, so that there is no later write to see. */
  async #read(): Promise<void> {
    const { notes, sales, place } = await this.#send<Page>('GET', 'page');
    this.reads.push(place);
    const seen = JSON.stringify({ notes, sales });
    const expected = JSON.stringify({
      notes: [...this.notes.values()].sort((a, b) => a.id - b.id),
      sales: this.sales.length,
    });
    if (seen !== expected) this.failures.push(`${this.name} on ${place}: read ${seen}, not ${expected}`);
  }

  async #send<T>(method: string, path: string, body?: object): Promise<T> {
    const worker = this.#workers[this.#random.below(this.#workers.length)]!;
    const response = await fetchOnce(`${worker}/${this.name}/${path}`, {
      method,
      headers: this.#session === null ? {} : { session: this.#session },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    this.#session = response.headers.get('session') ?? this.#session;
    return JSON.parse(text) as T;
  }
}

export class ShopTraffic {
  readonly users: ShopUser[];
  #going = false;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(users: number, workers: string[]) {
    const random = seeded('shop');
    this.users = Array.from(
      { length: users },
      (_, i) => new ShopUser(`user-${i}`, workers, new Random(random.below(2 ** 31))),
    );
  }

  start(): void {
    this.#going = true;
    this.#ended = Promise.all(
      this.users.map(async (user) => {
        // A user whom something has failed has no certain record any more.
        while (this.#going && user.failures.length === 0) {
          await user.step();
          await sleep(THINKS_MS);
        }
      }),
    );
  }

  /** Resolves when the last request is answered. */
  async stop(): Promise<void> {
    this.#going = false;
    await this.#ended;
  }

  get failures(): string[] {
    return this.users.flatMap(({ failures }) => failures);
  }

  /** Acknowledged writes by the database that has answered them. */
  writes(place: Place): number {
    return this.users.flatMap(({ writes }) => writes).filter((one) => one === place).length;
  }

  /** Rows of note as id, user, label, version, place. */
  notes(where: (note: Note) => boolean = () => true): unknown[][] {
    return this.users
      .flatMap(({ name, notes }) => [...notes.values()].filter(where).map((note) => ({ ...note, name })))
      .sort((a, b) => a.id - b.id)
      .map(({ id, name, label, version, place }) => [id, name, label, version, place]);
  }

  /** Rows of sale as id, product, user, number, place. */
  sales(where: (sale: Sale) => boolean = () => true): unknown[][] {
    return this.users
      .flatMap(({ sales }) => sales.filter(where))
      .sort((a, b) => a.id - b.id)
      .map(({ id, product, user, number, place }) => [id, product, user, number, place]);
  }

  /** Rows of product as id, sold. */
  products(): unknown[][] {
    const sales = this.users.flatMap((user) => user.sales);
    return Array.from({ length: PRODUCTS }, (_, i) => [
      i + 1,
      sales.filter(({ product }) => product === i + 1).length,
    ]);
  }
}
