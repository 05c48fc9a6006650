/** The mix of writes that the application makes. Every operation touches only rows of its lane. */
import {
  archiveSome,
  countView,
  deleteAnalytics,
  deleteContent,
  launch,
  post,
  publish,
  recordAnalytics,
} from './content-writes.ts';
import { deleteMatch, match, replaceMatch } from './match-writes.ts';
import type { Lane } from './sending.ts';
import { closeAccount, signUp, signUpTwice, switchPlan, transfer, updateProfile } from './user-writes.ts';

/** Weights are operations in a thousand. */
export const WRITES: readonly { weight: number; run(lane: Lane): Promise<void> }[] = [
  { weight: 90, run: countView },
  { weight: 80, run: recordAnalytics },
  { weight: 50, run: updateProfile },
  { weight: 30, run: publish },
  { weight: 30, run: post },
  { weight: 30, run: match },
  { weight: 10, run: replaceMatch },
  { weight: 20, run: switchPlan },
  { weight: 30, run: transfer },
  { weight: 20, run: signUp },
  { weight: 10, run: launch },
  { weight: 10, run: archiveSome },
  { weight: 8, run: deleteContent },
  { weight: 8, run: deleteMatch },
  { weight: 8, run: deleteAnalytics },
  { weight: 5, run: closeAccount },
  { weight: 5, run: signUpTwice },
];
