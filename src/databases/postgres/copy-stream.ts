/**
 * COPY over the simple query protocol: one string of several statements is one implicit transaction and one round
 * trip, so that rows, checkpoint and lease commit together
 * (https://www.postgresql.org/docs/current/protocol-flow.html, "Multiple Statements in a Simple Query").
 */
import type pg from 'pg';

/** What of pg's internal connection a submittable query uses. */
interface Wire {
  query(text: string): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
  sendCopyFail(message: string): void;
}

class CopyQuery implements pg.Submittable {
  private next = 0;
  private error: unknown;
  private readonly received: Buffer[] = [];

  private readonly sql: string;
  private readonly payloads: Buffer[];
  private readonly settle: (error: unknown, received: Buffer[]) => void;

  constructor(sql: string, payloads: Buffer[], settle: (error: unknown, received: Buffer[]) => void) {
    this.sql = sql;
    this.payloads = payloads;
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
    if (payload.length > 0) wire.sendCopyFromChunk(payload);
    wire.endCopyFrom();
  }

  handleCopyData(message: { chunk: Buffer }): void {
    // The chunk is a view of the socket's buffer, which pg reuses for the next message.
    this.received.push(Buffer.from(message.chunk));
  }

  handleError(error: unknown): void {
    // pg forgets the query after an error, so that no handleReadyForQuery follows.
    this.error = error;
    this.settle(this.error, []);
  }

  handleReadyForQuery(): void {
    this.settle(this.error, this.received);
  }

  handleRowDescription(): void {}
  handleDataRow(): void {}
  handleCommandComplete(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
}

/**
 * Runs `sql`, several statements in one implicit transaction; the nth COPY … FROM STDIN among them receives
 * `payloads[n]`. @throws pg.DatabaseError, with nothing applied
 */
export function runWithCopies(client: pg.Client, sql: string, payloads: Buffer[]): Promise<void> {
  return new Promise((resolve, reject) => {
    client.query(new CopyQuery(sql, payloads, (error) => (error === undefined ? resolve() : reject(error))));
  });
}

/** Runs one COPY … TO STDOUT. @returns its lines, each with its line feed, as one buffer */
export function copyOut(client: pg.Client, sql: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.query(
      new CopyQuery(sql, [], (error, received) =>
        error === undefined ? resolve(Buffer.concat(received)) : reject(error),
      ),
    );
  });
}
