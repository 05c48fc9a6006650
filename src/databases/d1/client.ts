/**
 * One D1 database through Cloudflare's REST API
 * (https://developers.cloudflare.com/api/resources/d1/subresources/database/methods/raw/).
 */
import ky, { HTTPError, TimeoutError, type KyInstance, type Options } from 'ky';
import { CrossfadeError, messageOf } from '../../errors.ts';
import { d1Url, type D1Access, type D1Address } from './address.ts';
import { budgetOf, type Budget } from './budget.ts';

/** A value as the JSON of an answer holds it: integers beyond 2^53 are rounded there, so `cells.ts` asks for text. */
export type JsonCell = null | number | string;

/** `params` are texts: D1's REST API knows no other. */
export interface Statement {
  sql: string;
  params?: string[];
}

export interface Answer {
  columns: string[];
  rows: JsonCell[][];
}

/** A statement that D1 refused; nothing of its batch was done. `code` is SQLite's, as the driver of a file would give it. */
export class D1Error extends Error {
  readonly code: string;

  constructor(message: string) {
    super(message);
    this.name = 'D1Error';
    this.code = /\bSQLITE_[A-Z_]+/.exec(message)?.[0] ?? 'SQLITE_ERROR';
  }
}

/** A batch that may have been done or not: its reply was lost, or is late. */
export class UnknownOutcome extends Error {
  constructor(cause: unknown) {
    super(`the outcome of a batch is not known: ${messageOf(cause)}`, { cause });
    this.name = 'UnknownOutcome';
  }
}

/** D1 ends a call after 30 seconds (https://developers.cloudflare.com/d1/platform/limits/); a reply may stall for longer. */
const CALL_TIMEOUT_MS = 90_000;
const ATTEMPTS = 8;
const BACKOFF_LIMIT_MS = 30_000;

/** What D1 says to every statement during an export (https://github.com/cloudflare/workers-sdk/issues/9519). */
const EXPORTING = /long-running export/i;

/** What may have been done is not sent again: only Cloudflare's own refusal says that it was not. */
const ONCE: Options = {
  retry: {
    shouldRetry: ({ error }) =>
      error instanceof HTTPError && error.response.status === 429 ? undefined : false,
  },
};

interface Envelope<T> {
  success: boolean;
  errors?: { code: number; message: string }[];
  result?: T;
}

interface Database {
  uuid: string;
  name: string;
}

export interface Counts {
  requests: number;
  /** Requests that were sent again after 429, 5xx, a stall or a lost connection. */
  repeated: number;
}

export class D1Client {
  /** For messages. */
  readonly name: string;
  readonly counts: Counts = { requests: 0, repeated: 0 };
  private readonly onRequest: (repeated: boolean) => void;
  /** The database's id, once it is opened. */
  readonly id: string;
  /** How many pages of tables are read at once. */
  readonly concurrency: number;
  private readonly address: D1Address;
  private readonly http: KyInstance;
  private readonly budget: Budget;

  /** @param onRequest told of every request, and whether it repeats one that failed */
  constructor(
    address: D1Address,
    access: D1Access,
    onRequest: (repeated: boolean) => void = () => undefined,
  ) {
    this.onRequest = onRequest;
    this.address = address;
    this.id = address.database;
    this.name = d1Url(address);
    this.concurrency = access.concurrency;
    this.budget = budgetOf(access.token);
    this.http = ky.create({
      prefixUrl: `${access.baseUrl}/accounts/${address.account}/d1/database`,
      headers: { authorization: `Bearer ${access.token}` },
      timeout: CALL_TIMEOUT_MS,
      retry: {
        limit: ATTEMPTS - 1,
        methods: ['get', 'post'],
        statusCodes: [408, 429, 500, 502, 503, 504],
        afterStatusCodes: [429, 503],
        backoffLimit: BACKOFF_LIMIT_MS,
        jitter: true,
        retryOnTimeout: true,
      },
      hooks: {
        beforeRequest: [() => this.count(false)],
        beforeRetry: [() => this.count(true)],
      },
    });
  }

  private async count(repeated: boolean): Promise<void> {
    await this.budget.turn();
    this.counts.requests++;
    if (repeated) this.counts.repeated++;
    this.onRequest(repeated);
  }

  /**
   * Opens the database that the address names by id or by name.
   * @throws CrossfadeError SourceMissing, SourceDenied, SourceBusy
   */
  static async open(
    address: D1Address,
    access: D1Access,
    onRequest?: (repeated: boolean) => void,
  ): Promise<D1Client> {
    const client = new D1Client(address, access, onRequest);
    const found = await client.find();
    return found === address.database
      ? client
      : new D1Client({ ...address, database: found }, access, onRequest);
  }

  private async find(): Promise<string> {
    const { database, account } = this.address;
    if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(database)) {
      await this.call<Database>('get', database);
      return database;
    }
    const listed = await this.call<Database[]>('get', `?name=${encodeURIComponent(database)}&per_page=100`);
    const same = listed.filter((one) => one.name === database);
    if (same.length === 1) return same[0]!.uuid;
    const others = listed.map((one) => `${one.name} (${one.uuid})`).join(', ');
    throw new CrossfadeError(
      'SourceMissing',
      `account ${account} has no D1 database that is called "${database}"${others === '' ? '' : `; it has ${others}`}: ` +
        '"wrangler d1 list" shows the ids',
    );
  }

  /**
   * Runs statements that change nothing, on one snapshot; sent again where the reply is lost.
   * @throws D1Error; CrossfadeError SourceMissing, SourceDenied, SourceBusy
   */
  async read(statements: string[]): Promise<Answer[]> {
    const results = await this.call<{ results: Answer }[]>('post', `${this.address.database}/raw`, {
      batch: statements.map((sql) => ({ sql })),
    });
    return results.map(({ results: answer }) => answer);
  }

  /** Reads a part of a table, see `read`; leaves requests to others. */
  async readBulk(statements: string[]): Promise<Answer[]> {
    await this.budget.bulkTurn();
    return this.read(statements);
  }

  /**
   * Runs statements as one atomic batch. Sent again only where Cloudflare says that it was not looked at (429).
   * @throws D1Error where a statement failed, and nothing was done; UnknownOutcome; CrossfadeError SourceMissing, SourceDenied
   */
  async change(statements: Statement[]): Promise<Answer[]> {
    const results = await this.call<{ results: Answer }[]>(
      'post',
      `${this.address.database}/raw`,
      { batch: statements },
      ONCE,
    );
    return results.map(({ results: answer }) => answer);
  }

  /**
   * Name of this moment, to which Time Travel can put the database back
   * (https://developers.cloudflare.com/api/resources/d1/subresources/database/subresources/time_travel/methods/get_bookmark/).
   */
  async bookmark(): Promise<string> {
    const found = await this.call<{ bookmark: string }>(
      'get',
      `${this.address.database}/time_travel/bookmark`,
    );
    return found.bookmark;
  }

  private async call<T>(
    method: 'get' | 'post',
    path: string,
    body?: object,
    options: Options = {},
  ): Promise<T> {
    let envelope: Envelope<T>;
    try {
      envelope = await this.http[method](path, {
        ...options,
        ...(body === undefined ? {} : { json: body }),
      }).json<Envelope<T>>();
    } catch (error) {
      const known =
        error instanceof HTTPError && error.response.status < 500 && error.response.status !== 408;
      if (options === ONCE && !known) throw new UnknownOutcome(error);
      throw await this.errorOf(error, options === ONCE);
    }
    if (!envelope.success || envelope.result === undefined)
      throw this.refusal(200, envelope, options === ONCE);
    return envelope.result;
  }

  private async errorOf(error: unknown, writes: boolean): Promise<Error> {
    if (error instanceof HTTPError) {
      const { status } = error.response;
      const text = await error.response.text().catch(() => '');
      return this.refusal(status, parsed(text) ?? { success: false }, writes, error);
    }
    const what =
      error instanceof TimeoutError ? `no answer within ${CALL_TIMEOUT_MS / 1_000} s` : messageOf(error);
    return new CrossfadeError(
      'SourceBusy',
      `source ${this.name} does not answer (${what}), asked ${ATTEMPTS} times: look at Cloudflare's status and this host's network`,
      error,
    );
  }

  private refusal(status: number, envelope: Envelope<unknown>, writes: boolean, cause?: unknown): Error {
    const errors = envelope.errors ?? [];
    const said = errors.map(({ code, message }) => `${message} [${code}]`).join('; ') || `HTTP ${status}`;
    const codes = new Set(errors.map(({ code }) => code));
    if (EXPORTING.test(said)) {
      return new CrossfadeError(
        'SourceBusy',
        `source ${this.name} is being exported (${said}), and answers nothing meanwhile: wait until the export has ended`,
        cause,
      );
    }
    if (status === 429 || status >= 500) {
      return new CrossfadeError(
        'SourceBusy',
        `source ${this.name}: Cloudflare says ${said}, asked ${ATTEMPTS} times: wait, or use the token for nothing else meanwhile`,
        cause,
      );
    }
    if (status === 404 || codes.has(7404) || codes.has(7003)) {
      return new CrossfadeError(
        'SourceMissing',
        `source ${this.name} does not exist (${said}): "wrangler d1 list" shows the databases of the account`,
        cause,
      );
    }
    if (status === 401 || status === 403 || codes.has(10_000) || codes.has(7403)) {
      return new CrossfadeError(
        'SourceDenied',
        `source ${this.name}: Cloudflare refuses CLOUDFLARE_API_TOKEN (${said}): it needs the permission "D1 ${writes ? 'Edit' : 'Read'}" for this account`,
        cause,
      );
    }
    return new D1Error(errors.map(({ message }) => message).join('; ') || said);
  }
}

function parsed(text: string): Envelope<unknown> | undefined {
  try {
    return JSON.parse(text) as Envelope<unknown>;
  } catch {
    return undefined;
  }
}
