/** A proxy before the REST API that does to the next requests what a test lists. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fetchOnce } from './fetch-once.ts';

export type Fault =
  /** Cloudflare answers in place of D1. */
  | { status: number; code: number; message: string; retryAfter?: number }
  /** D1 does it, and the reply is lost. */
  | 'lost-reply'
  /** The connection ends before D1 has heard of it. */
  | 'cut'
  /** Something happens before D1 hears of it. */
  | { before: () => Promise<void> }
  /** The connection ends, and D1 hears of it when the promise is kept; `done` is kept with D1's answer. */
  | { late: Promise<void>; done: (answer: string) => void };

export interface FaultyProxy {
  /** In place of CLOUDFLARE_API_BASE_URL. */
  baseUrl: string;
  /** Each is done to one request, in this order. */
  next: Fault[];
  /** Which requests they are done to, by body; default all. */
  meant: (body: string) => boolean;
  /** Requests that arrived. */
  seen: number;
  /** Resolves when everything that has arrived by now is done, also what is late. */
  idle(): Promise<void>;
  stop(): Promise<void>;
}

export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  const underWay = new Set<Promise<void>>();
  const proxy: FaultyProxy = {
    baseUrl: '',
    next: [],
    meant: () => true,
    seen: 0,
    idle: async () => {
      await Promise.all(underWay);
    },
    stop: async () => {},
  };
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    proxy.seen++;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const fault = proxy.meant(Buffer.concat(chunks).toString()) ? proxy.next.shift() : undefined;
    if (fault === 'cut') {
      request.socket.destroy();
      return;
    }
    if (typeof fault === 'object' && 'late' in fault) {
      request.socket.destroy();
      await fault.late;
    } else if (typeof fault === 'object' && 'before' in fault) {
      await fault.before();
    } else if (typeof fault === 'object') {
      const { status, code, message, retryAfter } = fault;
      response.writeHead(status, {
        'content-type': 'application/json',
        ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
      });
      response.end(
        JSON.stringify({ success: false, errors: [{ code, message }], messages: [], result: null }),
      );
      return;
    }
    const found = await fetchOnce(new URL(request.url!, target), {
      method: request.method!,
      headers: { authorization: request.headers.authorization ?? '', 'content-type': 'application/json' },
      ...(chunks.length === 0 ? {} : { body: Buffer.concat(chunks) }),
    });
    const body = Buffer.from(await found.arrayBuffer());
    if (typeof fault === 'object' && 'late' in fault) return fault.done(body.toString());
    if (fault === 'lost-reply') {
      request.socket.destroy();
      return;
    }
    response.writeHead(found.status, { 'content-type': 'application/json' });
    response.end(body);
  };
  const server = createServer((request, response) => {
    const work = answer(request, response)
      .catch((error: unknown) => void response.destroy(error as Error))
      .finally(() => underWay.delete(work));
    underWay.add(work);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy.baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/client/v4`;
  proxy.stop = () =>
    new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return proxy;
}
