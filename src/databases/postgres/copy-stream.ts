/**
 * COPY over the simple query protocol: one string of several statements is one implicit transaction and one round
 * trip, so that rows, checkpoint and lease commit together
 * (https://www.postgresql.org/docs/current/protocol-flow.html, "Multiple Statements in a Simple Query").
 */
import type { Socket } from 'node:net';
import type pg from 'pg';
import { GrowingBuffer } from '../growing-buffer.ts';

/** What of pg's internal connection a submittable query uses. */
interface Wire {
  readonly stream: Socket;
  query(text: string): void;
  endCopyFrom(): void;
  sendCopyFail(message: string): void;
}

class CopyQuery implements pg.Submittable {
  private next = 0;
  private error: unknown;
  private readonly sql: string;
  private readonly payloads: Buffer[];
  private readonly onRow: ((row: Buffer) => void) | undefined;
  private readonly settle: (error: unknown) => void;

  constructor(
    sql: string,
    data: { payloads?: Buffer[]; onRow?: (row: Buffer) => void },
    settle: (error: unknown) => void,
  ) {
    this.sql = sql;
    this.payloads = data.payloads ?? [];
    this.onRow = data.onRow;
    this.settle = settle;
  }

  submit(connection: pg.Connection): void {
    (connection as unknown as Wire).query(this.sql);
  }

  handleCopyInResponse(wire: Wire): void {
    const payload = this.payloads[this.next++];
    if (payload === undefined) {
      wire.sendCopyFail('crossfade: no data for this COPY');
      return;
    }
    // In one write with its frame; pg's own way copies the payload twice.
    wire.stream.cork();
    if (payload.length > 0) {
      wire.stream.write(copyDataHeader(payload.length));
      wire.stream.write(payload);
    }
    wire.endCopyFrom();
    wire.stream.uncork();
  }

  handleCopyData(message: { chunk: Buffer }): void {
    this.onRow?.(message.chunk);
  }

  handleError(error: unknown): void {
    // pg forgets the query after an error, so that no handleReadyForQuery follows.
    this.error = error;
    this.settle(this.error);
  }

  handleReadyForQuery(): void {
    this.settle(this.error);
  }

  handleRowDescription(): void {}
  handleDataRow(): void {}
  handleCommandComplete(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
}

/** Frame of a CopyData message (https://www.postgresql.org/docs/current/protocol-message-formats.html). */
function copyDataHeader(length: number): Buffer {
  const header = Buffer.alloc(5);
  header.write('d', 'latin1');
  header.writeInt32BE(length + 4, 1);
  return header;
}

/**
 * Runs `sql`, several statements in one implicit transaction; the nth COPY … FROM STDIN among them receives
 * `payloads[n]`, which may not be changed before this resolves. @throws pg.DatabaseError, with nothing applied
 */
export function runWithCopies(client: pg.Client, sql: string, payloads: Buffer[]): Promise<void> {
  return new Promise((resolve, reject) => {
    client.query(
      new CopyQuery(sql, { payloads }, (error) => (error === undefined ? resolve() : reject(error))),
    );
  });
}

/**
 * Runs one COPY … TO STDOUT.
 * @param onRow is given each row as it arrives, one CopyData message, in memory that is valid during the call; may not throw
 */
export function copyRows(client: pg.Client, sql: string, onRow: (row: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    client.query(new CopyQuery(sql, { onRow }, (error) => (error === undefined ? resolve() : reject(error))));
  });
}

/**
 * Runs one COPY … TO STDOUT. @returns its lines, each with its line feed, as one buffer
 * @param received where they are collected; cleared first
 */
export async function copyOut(
  client: pg.Client,
  sql: string,
  received = new GrowingBuffer(),
): Promise<Buffer> {
  received.clear();
  await copyRows(client, sql, (row) => received.append(row));
  return received.contents;
}
