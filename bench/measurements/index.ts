/** Every measurement, in the order in which they run. */
import type { Measurement } from '../results.ts';
import { beside } from './beside.ts';
import { capture } from './capture.ts';
import { copy } from './copy.ts';
import { d1 } from './d1.ts';
import { load } from './load.ts';
import { memory } from './memory.ts';
import { replay } from './replay.ts';
import { router } from './router.ts';
import { shapes } from './shapes.ts';
import { switches } from './switches.ts';
import { verification } from './verification.ts';

export const MEASUREMENTS: Measurement[] = [
  copy,
  load,
  memory,
  shapes,
  verification,
  replay,
  capture,
  beside,
  router,
  switches,
  d1,
];
