/** The application's store behind Workers: each operation is a request to one of them. */
import { fetchOnce } from '../../cloudflare/fetch-once.ts';
import { fromJson, toJson } from '../../cloudflare/json.ts';
import type { Operation, Side } from '../../src/index.ts';
import type { Row, Sql, Store, Value, WriteResult } from './store.ts';
import type { Answer, Asked } from './worker-messages.ts';

interface Workers {
  /** `http://…` of each. */
  urls: readonly string[];
  onAlert: (kind: string) => void;
  asked: number;
  /** Of the last write's answer, whoever wrote. */
  primary: Side;
}

/** What D1 has no counterpart for, transactions that wait for the application, is missing. */
export class WorkersStore implements Store {
  readonly #workers: Workers;
  readonly #isUsers: boolean;
  #primary: Side | undefined;
  #session: string | null = null;

  private constructor(workers: Workers, isUsers: boolean) {
    this.#workers = workers;
    this.#isUsers = isUsers;
  }

  static of(urls: readonly string[], onAlert: (kind: string) => void): WorkersStore {
    return new WorkersStore({ urls, onAlert, asked: 0, primary: 'source' }, false);
  }

  /** The same Workers with a session of its own. */
  forUser(): WorkersStore {
    return new WorkersStore(this.#workers, true);
  }

  async query<T = Row>(
    sql: Sql,
    params: readonly Value[] = [],
    options: Asked['options'] = {},
  ): Promise<T[]> {
    return (await this.#ask('query', [{ sql, params }], options)) as T[];
  }

  async write<T = Row>(
    sql: Sql,
    params: readonly Value[] = [],
    options: Asked['options'] = {},
  ): Promise<WriteResult<T>> {
    return (await this.#ask('write', [{ sql, params }], options)) as WriteResult<T>;
  }

  async batch(operations: readonly Operation[], options: Asked['options'] = {}): Promise<WriteResult[]> {
    return (await this.#ask('batch', operations, options)) as WriteResult[];
  }

  /** What this user's last answer named; for nobody in particular, the answer to the last write of all. */
  primary(): Side {
    return (this.#isUsers ? this.#primary : undefined) ?? this.#workers.primary;
  }

  async #ask(
    what: Asked['do'],
    operations: readonly Operation[],
    options: Asked['options'],
  ): Promise<unknown> {
    const { urls, onAlert } = this.#workers;
    const url = urls[this.#workers.asked++ % urls.length] ?? '';
    const asked: Asked = { do: what, operations, options, session: this.#session };
    const response = await fetchOnce(url, { method: 'POST', body: toJson(asked) });
    const text = await response.text();
    if (!response.ok) throw new Error(`the Worker answers ${response.status}: ${text}`);
    const { value, error, primary, session, alerts } = fromJson(text) as Answer;
    this.#primary = primary;
    if (what !== 'query') this.#workers.primary = primary;
    this.#session = session ?? this.#session;
    for (const kind of alerts) onAlert(kind);
    if (error === undefined) return value;
    throw Object.assign(new Error(error.message), error.code === undefined ? {} : { code: error.code });
  }
}
