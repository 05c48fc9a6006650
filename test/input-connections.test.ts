import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { resolveSource, resolveTarget, sqlitePath } from '../src/connections.ts';
import { CrossfadeError } from '../src/errors.ts';
import { temporalEnvironment } from '../src/temporal-environment.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'crossfade-connections-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function refusal(work: () => unknown): CrossfadeError {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(CrossfadeError);
    return error as CrossfadeError;
  }
  throw new Error('nothing was refused');
}

describe('connections', () => {
  it('finds the default names and others in the environment', () => {
    const env = {
      SOURCE_URL: 'sqlite:/data/a.db',
      TARGET_URL: 'postgres://u@h/d',
      MY_ORDERS_2_URL: '/data/b.db',
    };
    expect(resolveSource('source', env)).toEqual({ kind: 'sqlite', path: '/data/a.db' });
    expect(resolveTarget('target', env)).toEqual({ kind: 'postgres', url: 'postgres://u@h/d' });
    expect(resolveSource('my-orders.2', env)).toMatchObject({ path: '/data/b.db' });
  });

  it('finds names in the configuration file, where the environment has none', () => {
    const config = file(
      'good.json',
      '{"connections":{"orders":"sqlite:/data/o.db","pg":"postgres://u@h/d"}}',
    );
    expect(resolveSource('orders', {}, config)).toMatchObject({ path: '/data/o.db' });
    expect(resolveTarget('pg', { CROSSFADE_CONFIG: config }).url).toBe('postgres://u@h/d');
    expect(resolveSource('orders', { ORDERS_URL: 'sqlite:/other.db' }, config)).toMatchObject({
      path: '/other.db',
    });
  });

  it('names the variable to set for an unknown connection', () => {
    const error = refusal(() => resolveSource('my-orders', {}));
    expect(error).toMatchObject({ code: 'UnknownConnection', exit: 2 });
    expect(error.message).toContain('MY_ORDERS_URL');
    expect(error.message).toContain('CROSSFADE_CONFIG');
    expect(refusal(() => resolveSource('source', { SOURCE_URL: '' })).code).toBe('UnknownConnection');
  });

  it.each([
    ['sqlite:a.db', resolve('a.db')],
    ['sqlite:dir/a.db', resolve('dir/a.db')],
    ['sqlite:/abs/a.db', '/abs/a.db'],
    ['sqlite:///abs/a.db', '/abs/a.db'],
    ['sqlite:////abs/a.db', '/abs/a.db'],
    ['sqlite://rel/a.db', resolve('rel/a.db')],
    ['./a.db', resolve('a.db')],
    ['/abs/with space ü.db', '/abs/with space ü.db'],
    ['SQLITE:/abs/a.db', '/abs/a.db'],
  ])('takes %s as a path', (text, path) => {
    expect(sqlitePath(text, 'SOURCE_URL')).toBe(path);
  });

  it.each(['sqlite:', 'sqlite::memory:', ':memory:', 'postgres://u:hunter2@h/d', 'd1:abc'])(
    'refuses %s as a source without repeating it',
    (text) => {
      const error = refusal(() => resolveSource('source', { SOURCE_URL: text }));
      expect(error).toMatchObject({ code: 'BadConnection', exit: 2 });
      expect(error.message).toContain('SOURCE_URL');
      expect(error.message).not.toContain('hunter2');
    },
  );

  it.each(['sqlite:/a.db', '/a.db', 'mysql://u:hunter2@h/d', 'postgres://u:hunter2@h:port/d', 'host/db'])(
    'refuses %s as a target without repeating it',
    (text) => {
      const error = refusal(() => resolveTarget('target', { TARGET_URL: text }));
      expect(error.code).toBe('BadConnection');
      expect(error.message).not.toContain('hunter2');
      expect(error.message).toContain('postgres://');
    },
  );

  it.each([
    ['none.json', undefined, /cannot be read: .*ENOENT/],
    ['text.json', 'password=hunter2', /it is not JSON/],
    ['array.json', '["hunter2"]', /has no "connections"/],
    ['number.json', '{"connections":{"a":5}}', /connection "a"/],
  ])('refuses the configuration file %s', (name, content, message) => {
    const path = content === undefined ? join(folder, name) : file(name, content);
    const error = refusal(() => resolveSource('orders', {}, path));
    expect(error.code).toBe('BadConnection');
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('hunter2');
  });
});

describe('temporalEnvironment', () => {
  it('names no server without TEMPORAL_ADDRESS', () => {
    expect(temporalEnvironment({ TEMPORAL_ADDRESS: '' })).toEqual({
      address: undefined,
      namespace: 'default',
      security: {},
      uiUrl: undefined,
    });
  });

  it('reads address, namespace, key and certificates', () => {
    const cert = file('cert.pem', 'CERT');
    const key = file('key.pem', 'KEY');
    const env = {
      TEMPORAL_ADDRESS: 'ns.tmprl.cloud:7233',
      TEMPORAL_NAMESPACE: 'ns',
      TEMPORAL_TLS_CLIENT_CERT_PATH: cert,
      TEMPORAL_TLS_CLIENT_KEY_PATH: key,
    };
    expect(temporalEnvironment(env)).toMatchObject({
      address: 'ns.tmprl.cloud:7233',
      namespace: 'ns',
      security: { tls: { clientCertPair: { crt: Buffer.from('CERT'), key: Buffer.from('KEY') } } },
    });
    expect(temporalEnvironment({ TEMPORAL_API_KEY: 'k' }).security).toEqual({ apiKey: 'k', tls: true });
    expect(temporalEnvironment({ TEMPORAL_API_KEY: 'k', TEMPORAL_TLS: 'false' }).security).toEqual({
      apiKey: 'k',
    });
    expect(temporalEnvironment({ TEMPORAL_TLS: 'true' }).security).toEqual({ tls: true });
  });

  it('refuses half a pair and a missing file', () => {
    const cert = file('cert.pem', 'CERT');
    expect(refusal(() => temporalEnvironment({ TEMPORAL_TLS_CLIENT_CERT_PATH: cert })).message).toContain(
      'TEMPORAL_TLS_CLIENT_KEY_PATH belong together',
    );
    const missing = refusal(() =>
      temporalEnvironment({ TEMPORAL_TLS_SERVER_CA_CERT_PATH: join(folder, 'no.pem') }),
    );
    expect(missing).toMatchObject({ code: 'BadConnection' });
    expect(missing.message).toContain('TEMPORAL_TLS_SERVER_CA_CERT_PATH=');
  });
});
