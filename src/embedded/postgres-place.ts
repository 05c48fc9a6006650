/** The directory of an embedded PostgreSQL: where it lies, who may use it, and the cluster in it. */
import { createHash } from 'node:crypto';
import { chmod, chown, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { CrossfadeError } from '../errors.ts';
import {
  copyPrograms,
  openToAll,
  packagedPrograms,
  serverUser,
  type ServerUser,
} from './postgres-programs.ts';
import { supervise, systemEnvironment } from './supervise.ts';

export const SUPERUSER = 'postgres';

/** Kept in the data directory, readable for its owner only. */
export interface ServerRecord {
  password: string;
  port?: number;
  pid?: number;
  owner?: number;
}

/** Where a server lives and who runs it. */
export interface Place {
  folder: string;
  cluster: string;
  programs: string;
  user: ServerUser;
}

/** Prepares the directory for whoever may run the server. */
export async function preparePlace(dataDir: string, onLine: (line: string) => void): Promise<Place> {
  const user = await serverUser();
  const folder = await enterable(resolve(dataDir), user, onLine);
  await chmod(folder, user.uid === undefined ? 0o700 : 0o711);
  let programs = await packagedPrograms();
  if (user.uid !== undefined && !(await openToAll(join(programs, 'bin')))) {
    programs = await copyPrograms(programs, join(folder, 'programs'));
  }
  return { folder, cluster: join(folder, 'cluster'), programs, user };
}

/** Makes the directory; one below a directory that the server's user may not enter is replaced by one that is open. */
async function enterable(wanted: string, user: ServerUser, onLine: (line: string) => void): Promise<string> {
  if (user.uid === undefined || (await openToAll(dirname(wanted)))) {
    await mkdir(wanted, { recursive: true });
    return wanted;
  }
  const hash = createHash('sha256').update(wanted).digest('hex').slice(0, 12);
  const folder = join(tmpdir(), `crossfade-postgres-${hash}`);
  onLine(
    `PostgreSQL does not run as root, and other users may not enter ${dirname(wanted)}: using ${folder}`,
  );
  await mkdir(folder, { recursive: true });
  // Anyone may make directories there.
  if ((await stat(folder)).uid !== process.getuid?.()) {
    throw new CrossfadeError(
      'ToolMissing',
      `${folder} belongs to another user: remove it, or set TARGET_URL`,
    );
  }
  return folder;
}

/** Makes the cluster under another name first, so that an interrupted attempt is never taken for a cluster. */
export async function initialise(place: Place, password: string, env: NodeJS.ProcessEnv): Promise<void> {
  const draft = `${place.cluster}.new`;
  const passwordFile = join(place.folder, 'password');
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  const { uid, gid } = place.user;
  if (uid !== undefined && gid !== undefined) {
    await chown(draft, uid, gid);
    await chown(passwordFile, uid, gid);
  }
  const lines: string[] = [];
  const initdb = await supervise({
    name: 'initdb',
    command: join(place.programs, 'bin', 'initdb'),
    args: [
      ...['--pgdata', draft, '--username', SUPERUSER, '--auth', 'scram-sha-256', '--pwfile', passwordFile],
      // Independent of what locales this machine has.
      ...[
        '--encoding',
        'UTF8',
        '--locale',
        'C',
        '--locale-provider',
        'builtin',
        '--builtin-locale',
        'C.UTF-8',
      ],
      '--no-instructions',
    ],
    cwd: place.folder,
    env: systemEnvironment(env),
    ...place.user,
    onLine: (line) => lines.push(line),
  });
  const { code } = await initdb.exited;
  await rm(passwordFile, { force: true });
  if (code !== 0) {
    throw new CrossfadeError(
      'ToolMissing',
      `the embedded PostgreSQL cannot be initialised: ${lines.slice(-3).join(' ')}. Set TARGET_URL to use another server`,
    );
  }
  await rename(draft, place.cluster);
}

export async function readRecord(place: Place): Promise<ServerRecord | undefined> {
  try {
    return JSON.parse(await readFile(join(place.folder, 'server.json'), 'utf8')) as ServerRecord;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new CrossfadeError(
      'ToolMissing',
      `${join(place.folder, 'server.json')} is damaged: remove ${place.folder} (its data is lost), or set TARGET_URL`,
      error,
    );
  }
}

export async function writeRecord(place: Place, record: ServerRecord): Promise<void> {
  const path = join(place.folder, 'server.json');
  await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
  await rename(`${path}.new`, path);
}
