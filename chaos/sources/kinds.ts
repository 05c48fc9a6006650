/** The kinds of sources that a session may migrate. */
import type { SourceName } from '../faults.ts';
import { d1 } from './d1.ts';
import { sqlite } from './sqlite.ts';
import type { SourceKind } from './source.ts';

export const SOURCES: Record<SourceName, SourceKind> = { sqlite, d1 };
