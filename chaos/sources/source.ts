/** What a run needs of the database that it migrates, whichever kind it is. */
import type { Random } from '../../demo/database/random.ts';
import type { SourceFault } from '../faults.ts';

export interface RunSource {
  /** SQLite file with what the source holds, for readers. */
  file: string;
  /** Of its own: the source as it was before the migration. */
  baseline: string;
  /** By which a worker reaches the source. */
  workerEnv: NodeJS.ProcessEnv;
  /** By which the applications reach it. */
  applicationEnv: NodeJS.ProcessEnv;
  /** Runs statements as one transaction, as a program that knows nothing of the migration. @throws what the database says */
  write(statements: string[]): Promise<void>;
  /** Does what only this kind of source can suffer; resolves when it is over, or waits for its requests. */
  inject(fault: SourceFault): Promise<void>;
  /** Resolves when everything that has been sent by now is done. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

export interface SourceOptions {
  /** Of the run. */
  folder: string;
  /** Rows of the table that nobody changes. */
  ballast: number;
  /** PostgreSQL as the applications reach it. */
  targetUrl: string;
  /** Folder of the compiled code that worker and applications run. */
  build: URL;
}

export interface SourceKind {
  create(options: SourceOptions): Promise<RunSource>;
  /** Module of each application process, without `-process`. */
  applications: readonly string[];
  ballast(random: Random): number;
  /** Of a switch. */
  maxPauseMs: number;
}
