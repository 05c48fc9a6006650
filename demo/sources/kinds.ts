import { D1 } from './d1.ts';
import type { SourceKind } from './source.ts';
import { SQLITE } from './sqlite.ts';

/** By their name on the command line. */
export const SOURCE_KINDS = { sqlite: SQLITE, d1: D1 } as const satisfies Record<string, SourceKind>;

export type SourceOption = keyof typeof SOURCE_KINDS;
