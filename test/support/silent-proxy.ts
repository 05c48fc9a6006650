/** A TCP proxy that can fall silent: its connections stay open and carry nothing more, as through a lost network. */
import { connect, createServer, type Server, type Socket } from 'node:net';

export class SilentProxy {
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private readonly silenced = new WeakSet<Socket>();
  private silentNames: RegExp | null = null;

  private constructor(server: Server) {
    this.server = server;
  }

  /** @param url of the PostgreSQL server behind it */
  static async before(url: string): Promise<SilentProxy> {
    const { hostname, port } = new URL(url);
    const server = createServer();
    const proxy = new SilentProxy(server);
    server.on('connection', (near) =>
      proxy.join(near, connect({ host: hostname, port: port === '' ? 5432 : Number(port) })),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  /** The URL of the same database through the proxy. */
  through(url: string): string {
    const own = new URL(url);
    own.hostname = '127.0.0.1';
    own.port = String((this.server.address() as { port: number }).port);
    return own.toString();
  }

  /** Every connection of now carries nothing more; later ones are served. */
  silence(): void {
    for (const socket of this.sockets) this.silenced.add(socket);
  }

  /** New connections whose first message, with the application's name, matches are never answered; null: none. */
  ignore(names: RegExp | null): void {
    this.silentNames = names;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private join(near: Socket, far: Socket): void {
    let first = true;
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(from);
      from.on('error', () => undefined);
      from.on('close', () => {
        this.sockets.delete(from);
        // Nobody hears of an end either.
        if (!this.silenced.has(from)) to.destroy();
      });
      from.on('data', (chunk) => {
        if (first && this.silentNames?.test(chunk.toString('latin1')) === true)
          this.silenced.add(near).add(far);
        first = false;
        if (!this.silenced.has(from)) to.write(chunk);
      });
    }
  }
}
