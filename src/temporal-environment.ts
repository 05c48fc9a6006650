/** The Temporal server that the environment names, by the variables that Temporal's own tools read. */
import { readFileSync } from 'node:fs';
import { CrossfadeError, messageOf } from './errors.ts';

export interface TemporalEnvironment {
  /** host:port; undefined where TEMPORAL_ADDRESS is not set. */
  address: string | undefined;
  namespace: string;
  /** Goes into `Connection` and `NativeConnection` as it is. */
  security: { apiKey?: string; tls?: true | TlsOptions };
  /** Address of the web UI, where TEMPORAL_UI_URL names it. */
  uiUrl: string | undefined;
}

interface TlsOptions {
  serverNameOverride?: string;
  serverRootCACertificate?: Buffer;
  clientCertPair?: { crt: Buffer; key: Buffer };
}

/**
 * Reads TEMPORAL_ADDRESS, _NAMESPACE, _API_KEY, _TLS, _TLS_CLIENT_CERT_PATH, _TLS_CLIENT_KEY_PATH,
 * _TLS_SERVER_CA_CERT_PATH, _TLS_SERVER_NAME, and TEMPORAL_UI_URL. An API key or a certificate implies TLS.
 * @throws CrossfadeError BadConnection where a certificate cannot be read
 */
export function temporalEnvironment(env: NodeJS.ProcessEnv): TemporalEnvironment {
  const value = (name: string): string | undefined => env[name] || undefined;
  const file = (name: string): Buffer | undefined => {
    const path = value(name);
    if (path === undefined) return undefined;
    try {
      return readFileSync(path);
    } catch (error) {
      throw new CrossfadeError('BadConnection', `${name}=${path} cannot be read: ${messageOf(error)}`, error);
    }
  };

  const crt = file('TEMPORAL_TLS_CLIENT_CERT_PATH');
  const key = file('TEMPORAL_TLS_CLIENT_KEY_PATH');
  if ((crt === undefined) !== (key === undefined)) {
    throw new CrossfadeError(
      'BadConnection',
      'TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH belong together: only one of them is set',
    );
  }
  const serverNameOverride = value('TEMPORAL_TLS_SERVER_NAME');
  const serverRootCACertificate = file('TEMPORAL_TLS_SERVER_CA_CERT_PATH');
  const tls: TlsOptions = {
    ...(serverNameOverride === undefined ? {} : { serverNameOverride }),
    ...(serverRootCACertificate === undefined ? {} : { serverRootCACertificate }),
    ...(crt === undefined || key === undefined ? {} : { clientCertPair: { crt, key } }),
  };
  const apiKey = value('TEMPORAL_API_KEY');
  const asked = value('TEMPORAL_TLS')?.toLowerCase();
  const encrypted =
    asked === undefined
      ? apiKey !== undefined || Object.keys(tls).length > 0
      : !['false', '0'].includes(asked);

  return {
    address: value('TEMPORAL_ADDRESS'),
    namespace: value('TEMPORAL_NAMESPACE') ?? 'default',
    security: {
      ...(apiKey === undefined ? {} : { apiKey }),
      ...(encrypted ? { tls: Object.keys(tls).length > 0 ? tls : true } : {}),
    },
    uiUrl: value('TEMPORAL_UI_URL')?.replace(/\/+$/, ''),
  };
}
