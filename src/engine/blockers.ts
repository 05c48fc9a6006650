/** Every kind of blocker, and how an operator who cannot or will not mend its cause goes on all the same. */
import { POLICY_CHOICES, type PolicyName } from '../choices.ts';

/** A policy by its name; `skip`: leaving the table behind by an override; `none`: only mending the cause. */
type WayOn = PolicyName | 'skip' | 'none';

export const BLOCKERS = {
  // The source as a whole.
  encoding: 'none',
  'no-tables': 'none',
  'reserved-name': 'none',
  // Tables and columns.
  'hidden-rowid': 'skip',
  'row-too-large': 'skip',
  'row-too-wide': 'skip',
  'sql-not-understood': 'skip',
  'too-many-columns': 'skip',
  'capture-scan': 'skip',
  'virtual-table': 'virtualTables',
  'application-trigger': 'triggers',
  'generated-column': 'generatedColumns',
  'default-not-null': 'defaults',
  /** An override asks for a type that the column cannot have. */
  override: 'none',
  // Keys.
  'null-in-key': 'keys',
  'mixed-classes': 'keys',
  'inexact-number': 'keys',
  'key-too-large': 'keys',
  // What is forbidden.
  'collation-unique': 'uniqueIndexes',
  'index-too-large': 'uniqueIndexes',
  'unique-index': 'uniqueIndexes',
  // Foreign keys.
  orphans: 'orphans',
  'key-type-mismatch': 'foreignKeys',
  'nocase-parent': 'foreignKeys',
} as const satisfies Record<string, WayOn>;

export type BlockerCode = keyof typeof BLOCKERS;

/** Continues the message of a blocker, which ends with what would mend its cause. */
export function wayOn(code: BlockerCode, table: string | undefined): string {
  const way: WayOn = BLOCKERS[code];
  if (way === 'none') return '';
  if (way === 'skip')
    return `, or leave the table behind: overrides ${JSON.stringify({ [table ?? '']: { skip: true } })}`;
  const [, ...choices] = POLICY_CHOICES[way];
  return `, or set policies.${way} to ${choices.map((choice) => `"${choice}"`).join(' or ')}`;
}
