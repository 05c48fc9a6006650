/** Ports on the loopback address that nobody listens on. */
import { createServer, type Server } from 'node:net';

/**
 * One port for each entry: the wanted one where it is free, else any. They differ from each other. Someone else may
 * take a port before the caller does.
 */
export async function freePorts(...wanted: (number | undefined)[]): Promise<number[]> {
  const held: Server[] = [];
  try {
    for (const port of wanted) held.push((await listener(port ?? 0)) ?? (await listener(0))!);
    return held.map(portOf);
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/** @returns undefined where the port is taken */
function listener(port: number): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(undefined);
      else reject(error);
    });
    server.listen({ host: '127.0.0.1', port }, () => resolve(server));
  });
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
  return address.port;
}
