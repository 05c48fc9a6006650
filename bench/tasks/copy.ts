/** The copy alone, as an activity runs it. */
import type { CopyReport, MigrationInput, TablePlan } from '../../src/contract.ts';
import type { TargetLease } from '../../src/databases/postgres/lease.ts';
import { copyTables } from '../../src/engine/copy.ts';
import type { Endpoints } from '../../src/engine/endpoints.ts';
import { serve } from './serve.ts';

export interface CopyInput {
  endpoints: Endpoints;
  lease: TargetLease;
  tables: TablePlan[];
  settings: MigrationInput['copy'];
}

serve<CopyInput, CopyReport>((input) =>
  copyTables({ ...input, signal: new AbortController().signal, onProgress: () => undefined }),
);
