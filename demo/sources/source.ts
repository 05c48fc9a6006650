/** What differs between the databases that the demo can move. */
import type { ChildModule } from '../child.ts';
import type { Cleanup } from '../cleanup.ts';

export type SourceName = 'SQLite' | 'D1';

/** What a database is made in, with and for. */
export interface Place {
  directory: string;
  /** A SQLite file with the generated rows, which nobody changes. */
  baseline: string;
  /** URL of the target. */
  target: string;
  cleanup: Cleanup;
}

export interface SourceKind {
  /** As the screen and the report call it. */
  name: SourceName;
  /** Where the command line says nothing else. */
  defaults: { users: number; ops: number };
  /** See `gates.latencyFloorMs`: everything runs on this one machine and takes turns on its processors. */
  latencyFloorMs: number;
  /** Makes the database. @throws Error where it does not start */
  open(place: Place): Promise<DemoSource>;
}

export interface DemoSource {
  /** What reaches it, SOURCE_URL among it: for the worker and the application. */
  env: NodeJS.ProcessEnv;
  /** The SQLite file that holds its rows, for the checker. */
  file: string;
  /** The process that serves the traffic. */
  application: ChildModule;
  /** Where the application has its data, for a person. */
  where: string;
  /** Rejects when it ends by itself. */
  failed: Promise<never>;
}
