/**
 * Compares a database with what the application was told, row by row, without any code of the engine: generated rows
 * plus acknowledged writes must be exactly what is there.
 */
import { SHAPES, type TableShape } from '../database/schema.ts';
import type { SourceName } from '../sources/source.ts';
import { openPostgres, openSqlite, readSqlite, type ActualDatabase, type Cell } from './actual.ts';
import { Attempts, uncertainRows } from './doubt.ts';
import { buildExpected, rowName, type Expected } from './expected.ts';
import { readJournal, type JournalContent } from './read-journal.ts';

export interface CheckOptions {
  /** A copy of the generated database, made before the application started. */
  baseline: string;
  journal: string;
  database: { sqlite: string; name?: SourceName } | { postgres: string };
  /**
   * Leave out rows that the target has changed: for the source after a complete migration, which need not follow
   * those to the last.
   */
  exceptTargetsWrites?: boolean;
  onProgress?: (rows: number) => void;
}

export interface CheckResult {
  database: SourceName | 'PostgreSQL';
  tables: { table: string; rows: number }[];
  /** Rows compared and rows left out, because of unknown outcomes or of `exceptTargetsWrites`. */
  rows: number;
  leftOut: number;
  acknowledged: number;
  acknowledgedByTarget: number;
  refused: number;
  unknown: number;
  /** Acknowledged writes whose effect is not there. */
  writesLost: number;
  /** Of those, the ones that PostgreSQL had acknowledged. */
  targetWritesLost: number;
  /** Rows and values that are there although no acknowledged write made them. */
  phantoms: number;
  /** Rows that nobody wrote to and that are missing or different. */
  damaged: number;
  /** Acknowledgements that cannot all be true. */
  contradictions: number;
  /** Sum over all users, which transfers keep. */
  credits: { expected: number; actual: number };
  /** The first twenty findings, a line each. */
  findings: string[];
  /** Nothing lost, nothing extra, every compared row equal. */
  agrees: boolean;
}

const FINDINGS = 20;

/** @throws Error where the journal or a database cannot be read */
export async function checkDatabase(options: CheckOptions): Promise<CheckResult> {
  const journal = readJournal(options.journal);
  const expected = buildExpected(options.baseline, journal);
  try {
    const actual =
      'sqlite' in options.database
        ? openSqlite(options.database.sqlite, options.database.name)
        : await openPostgres(options.database.postgres);
    try {
      return await new Comparison(options, journal, expected, actual).run();
    } finally {
      await actual.close();
    }
  } finally {
    expected.close();
  }
}

class Comparison {
  readonly #options: CheckOptions;
  readonly #journal: JournalContent;
  readonly #expected: Expected;
  readonly #actual: ActualDatabase;
  readonly #uncertain: (shape: TableShape, row: Cell[]) => boolean;
  readonly #unknown: Attempts;
  readonly #refused: Attempts;
  readonly #lost = new Set<number>();
  readonly #targetLost = new Set<number>();
  readonly #findings: string[] = [];
  readonly #credits = { expected: 0, actual: 0 };
  #rows = 0;
  #leftOut = 0;
  #phantoms = 0;
  #damaged = 0;

  constructor(options: CheckOptions, journal: JournalContent, expected: Expected, actual: ActualDatabase) {
    this.#options = options;
    this.#journal = journal;
    this.#expected = expected;
    this.#actual = actual;
    this.#uncertain = uncertainRows(journal, expected.db);
    this.#unknown = new Attempts(journal, journal.unknown);
    this.#refused = new Attempts(journal, journal.refused);
    this.#findings.push(...expected.contradictions.slice(0, FINDINGS));
  }

  async run(): Promise<CheckResult> {
    const tables: CheckResult['tables'] = [];
    for (const shape of SHAPES) {
      const before = this.#rows;
      await this.#table(shape);
      tables.push({ table: shape.name, rows: this.#rows - before });
    }
    const { acknowledged, refused, unknown } = this.#journal;
    const contradictions = this.#expected.contradictions.length;
    const creditsAgree =
      this.#options.exceptTargetsWrites === true || this.#credits.expected === this.#credits.actual;
    if (!creditsAgree) {
      this.#report(`the credits add up to ${this.#credits.actual} instead of ${this.#credits.expected}`);
    }
    return {
      database: this.#actual.name,
      tables,
      rows: this.#rows,
      leftOut: this.#leftOut,
      acknowledged: acknowledged.length,
      acknowledgedByTarget: acknowledged.filter(({ primary }) => primary === 'target').length,
      refused: refused.length,
      unknown: unknown.length,
      writesLost: this.#lost.size,
      targetWritesLost: this.#targetLost.size,
      phantoms: this.#phantoms,
      damaged: this.#damaged,
      contradictions,
      credits: { ...this.#credits },
      findings: this.#findings,
      agrees: this.#lost.size + this.#phantoms + this.#damaged + contradictions === 0 && creditsAgree,
    };
  }

  /** Merges the two sides in key order. */
  async #table(shape: TableShape): Promise<void> {
    const keyAt = shape.key.map((column) => shape.columns.findIndex(({ name }) => name === column));
    const keyOf = (row: Cell[]): number[] => keyAt.map((i) => Number(row[i]));
    const wanted = readSqlite(this.#expected.db, shape);
    try {
      await this.#merge(shape, keyOf, wanted);
    } finally {
      // An iterator that is left open would keep the connection busy.
      wanted.return(undefined);
    }
  }

  async #merge(
    shape: TableShape,
    keyOf: (row: Cell[]) => number[],
    wanted: Generator<Cell[]>,
  ): Promise<void> {
    let next = wanted.next();
    for await (const block of this.#actual.read(shape)) {
      for (const found of block) {
        this.#count(shape, found, 'actual');
        const key = keyOf(found);
        while (next.done !== true && compareKeys(keyOf(next.value), key) < 0) {
          this.#missing(shape, keyOf(next.value), next.value);
          next = wanted.next();
        }
        if (next.done !== true && compareKeys(keyOf(next.value), key) === 0) {
          this.#pair(shape, key, next.value, found);
          next = wanted.next();
        } else {
          this.#extra(shape, key, found);
        }
      }
      this.#options.onProgress?.(this.#rows);
    }
    while (next.done !== true) {
      this.#missing(shape, keyOf(next.value), next.value);
      next = wanted.next();
    }
  }

  #pair(shape: TableShape, key: number[], wanted: Cell[], found: Cell[]): void {
    this.#count(shape, wanted, 'expected');
    const name = rowName(shape.name, key);
    if (this.#leaveOut(shape, name, wanted, found)) return;
    this.#rows++;
    const at = wanted.findIndex((cell, i) => cell !== found[i]);
    if (at < 0) return;
    const difference = `${shape.columns[at]?.name} is ${show(found[at])} instead of ${show(wanted[at])}`;
    const refused = this.#refused.findUpdate(shape, name, found);
    if (refused !== undefined) {
      this.#phantoms++;
      this.#report(`${name}: the refused write ${refused} is there: ${difference}`);
    } else {
      this.#lostOrDamaged(name, difference);
    }
  }

  #missing(shape: TableShape, key: number[], wanted: Cell[]): void {
    this.#count(shape, wanted, 'expected');
    const name = rowName(shape.name, key);
    if (this.#leaveOut(shape, name, wanted)) return;
    this.#rows++;
    this.#lostOrDamaged(name, 'the row is missing');
  }

  #extra(shape: TableShape, key: number[], found: Cell[]): void {
    const name = rowName(shape.name, key);
    if (this.#leaveOut(shape, name, found)) return;
    this.#rows++;
    if (this.#expected.touched.has(name)) {
      this.#lostOrDamaged(name, 'the row was deleted and is there');
      return;
    }
    if (this.#unknown.takeInsert(shape, found) !== undefined) return;
    const refused = this.#refused.takeInsert(shape, found);
    this.#phantoms++;
    this.#report(
      refused === undefined
        ? `${name}: no acknowledged write made this row`
        : `${name}: the refused write ${refused} is there`,
    );
  }

  #leaveOut(shape: TableShape, name: string, ...rows: Cell[][]): boolean {
    const out =
      rows.some((row) => this.#uncertain(shape, row)) ||
      (this.#options.exceptTargetsWrites === true && this.#expected.touchedOnTarget.has(name));
    if (out) this.#leftOut++;
    return out;
  }

  #lostOrDamaged(name: string, what: string): void {
    const touched = this.#expected.touched.get(name);
    if (touched === undefined) {
      this.#damaged++;
      this.#report(`${name}: ${what}; the application never wrote to it`);
      return;
    }
    this.#lost.add(touched.n);
    if (touched.primary === 'target') this.#targetLost.add(touched.n);
    const operation = this.#journal.attempts.get(touched.n)?.operation ?? '';
    this.#report(`${name}: ${what}; write ${touched.n} (${operation}) is lost`);
  }

  #count(shape: TableShape, row: Cell[], side: 'expected' | 'actual'): void {
    if (shape.name !== 'users') return;
    const at = shape.columns.findIndex(({ name }) => name === 'credits');
    this.#credits[side] += Number(row[at]);
  }

  #report(finding: string): void {
    if (this.#findings.length < FINDINGS) this.#findings.push(finding);
  }
}

function compareKeys(a: number[], b: number[]): number {
  for (const [i, value] of a.entries()) {
    const other = b[i] ?? 0;
    if (value !== other) return value - other;
  }
  return 0;
}

function show(cell: Cell | undefined): string {
  if (cell === null || cell === undefined) return 'NULL';
  return JSON.stringify(cell.length > 60 ? `${cell.slice(0, 60)}…` : cell);
}
