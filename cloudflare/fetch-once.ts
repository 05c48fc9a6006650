/**
 * `fetch` over a connection of its own, as workerd has to be asked: it closes an idle connection at the moment when the next
 * request may take it, and that request then fails with "other side closed".
 */
export function fetchOnce(url: URL | string, init: RequestInit = {}): Promise<Response> {
  return fetch(url, { ...init, headers: { ...init.headers, connection: 'close' } });
}
