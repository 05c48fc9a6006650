/** Plans a migration of a schema given as SQL, in a database of its own. */
import Database from 'better-sqlite3';
import {
  DEFAULT_INPUT,
  type ColumnPlan,
  type Finding,
  type MigrationInput,
  type Plan,
  type Policies,
  type TablePlan,
} from '../../src/contract.ts';
import { defineFunctions } from '../../src/databases/sqlite/encode.ts';
import { planMigration } from '../../src/engine/plan.ts';

export const REFUSE: Policies = DEFAULT_INPUT.policies;

/** @param sql statements that make and fill the source */
export async function planOf(
  sql: string,
  policies: Policies = REFUSE,
  overrides: MigrationInput['overrides'] = {},
): Promise<Plan> {
  const db = new Database(':memory:');
  try {
    defineFunctions(db);
    db.exec(sql);
    return await planMigration(db, { policies, overrides });
  } finally {
    db.close();
  }
}

export function table(plan: Plan, name: string): TablePlan {
  const found = plan.tables.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no table ${name} in the plan`);
  return found;
}

export function column(plan: Plan, tableName: string, name: string): ColumnPlan {
  const found = table(plan, tableName).columns.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no column ${name} in table ${tableName}`);
  return found;
}

/** Findings as "code table.column count", what is absent left out. */
export function brief(findings: Finding[]): string[] {
  return findings.map(({ code, table: of, column: name, count }) =>
    [code, [of, name].filter((part) => part !== undefined).join('.'), count]
      .filter((part) => part !== undefined && part !== '')
      .join(' '),
  );
}

/** A seed, from TEST_SEED where it is set, and numbers made from it; printed, so that a failure can be repeated. */
export function seededRandom(): { seed: number; below(n: number): number; pick<T>(from: readonly T[]): T } {
  const seed = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  let state = seed >>> 0;
  // mulberry32
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number): number => Math.floor(next() * n);
  return { seed, below, pick: (from) => from[below(from.length)]! };
}
