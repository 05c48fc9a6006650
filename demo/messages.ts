/** What the conductor and its processes say to one another. */
import type { ApplicationFigures } from './application/figures.ts';

export type FromApplication =
  | { type: 'ready' }
  | { type: 'figures'; figures: ApplicationFigures }
  | { type: 'stopped'; figures: ApplicationFigures };

export type FromWorker = { type: 'ready' };

export interface FromD1 {
  type: 'ready';
  /** `d1://…` */
  url: string;
  /** Environment that reaches it. */
  env: NodeJS.ProcessEnv;
  /** The SQLite file in which workerd keeps it. */
  file: string;
  /** `http://…` of each of the application's Workers. */
  workers: string[];
}

export type FromConductor = { type: 'stop' };
