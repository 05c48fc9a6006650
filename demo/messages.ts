/** What the conductor and its two processes say to one another. */
import type { ApplicationFigures } from './application/figures.ts';

export type FromApplication =
  | { type: 'ready' }
  | { type: 'figures'; figures: ApplicationFigures }
  | { type: 'stopped'; figures: ApplicationFigures };

export type FromWorker = { type: 'ready' };

export type FromConductor = { type: 'stop' };
