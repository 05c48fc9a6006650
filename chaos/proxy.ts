/** A TCP proxy before PostgreSQL, whose connections can be cut and whose answers can be withheld. */
import { createServer, connect, type Server, type Socket } from 'node:net';

/** The wire form of a simple query that commits (https://www.postgresql.org/docs/current/protocol-message-formats.html). */
const COMMIT = Buffer.from('COMMIT');

export class Proxy {
  readonly #server: Server;
  readonly #pairs = new Set<[Socket, Socket]>();
  #cutAtCommit = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** @param target port of the server on 127.0.0.1 */
  static async start(target: number): Promise<Proxy> {
    const server = createServer({ noDelay: true });
    const proxy = new Proxy(server);
    server.on('connection', (near) =>
      proxy.#join(near, connect({ host: '127.0.0.1', port: target, noDelay: true })),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** Cuts every connection at once. */
  cut(): number {
    const pairs = [...this.#pairs];
    for (const pair of pairs) sever(pair);
    return pairs.length;
  }

  /** The next `count` connections that send a COMMIT are cut when it has been sent and before it is answered. */
  cutAtCommit(count: number): void {
    this.#cutAtCommit = count;
  }

  async close(): Promise<void> {
    this.#server.close();
    this.cut();
    await Promise.resolve();
  }

  #join(near: Socket, far: Socket): void {
    const pair: [Socket, Socket] = [near, far];
    this.#pairs.add(pair);
    for (const socket of pair) {
      socket.on('error', () => sever(pair));
      socket.on('close', () => {
        sever(pair);
        this.#pairs.delete(pair);
      });
    }
    near.on('data', (chunk) => {
      if (this.#cutAtCommit > 0 && chunk.includes(COMMIT)) {
        this.#cutAtCommit--;
        far.write(chunk, () => sever(pair));
        return;
      }
      if (!far.write(chunk)) {
        near.pause();
        far.once('drain', () => near.resume());
      }
    });
    far.on('data', (chunk) => {
      if (!near.write(chunk)) {
        far.pause();
        near.once('drain', () => far.resume());
      }
    });
  }
}

function sever(pair: [Socket, Socket]): void {
  for (const socket of pair) socket.destroy();
}
