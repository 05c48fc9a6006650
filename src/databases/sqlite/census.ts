/**
 * Census: what values each column holds. It only counts, so that the choice of a type can be made, explained and
 * tested apart from SQLite. The source is read in short synchronous steps; rows that change meanwhile are seen or not,
 * and what the census misses, replay finds.
 */
import { isUtf8 } from 'node:buffer';
import type Database from 'better-sqlite3';
import type { ColumnKind } from '../../contract.ts';
import { quoted } from '../identifiers.ts';
import {
  firstQuestions,
  furtherQuestions,
  rowSizeSql,
  textSql,
  type ColumnFacts,
  type Question,
  type Questions,
} from './census-sql.ts';
import { Pace } from './pace.ts';
import { rangesOf, type Range } from './ranges.ts';
import type { SourceColumn, SourceTable } from './schema.ts';
import { readTransaction } from './transaction.ts';

export type { ColumnFacts } from './census-sql.ts';

export interface TableFacts {
  rows: number;
  /** Bytes of the largest row, all its values together, numbers as text. */
  largestRow: number;
  /** By column name. */
  columns: Map<string, ColumnFacts>;
}

export interface CensusOptions {
  onRows?: (rows: number) => void;
  columns?: SourceColumn[];
  wanted?: ReadonlyMap<string, ColumnKind>;
}

/** A column that holds nothing. */
function noFacts(): ColumnFacts {
  return {
    integers: 0,
    reals: 0,
    texts: 0,
    blobs: 0,
    nulls: 0,
    bits: 0,
    datetimes: 0,
    dates: 0,
    jsons: 0,
    jsonValues: 0,
    decimals: 0,
    beyondDouble: 0,
    nulTexts: 0,
    invalidTexts: 0,
    tooLong: 0,
    longest: 0,
  };
}

/** Texts of a step are checked together up to this size, one by one above it. */
const TOGETHER_BYTES = 8 * 1024 * 1024;
/** SQLite allows 2,000 columns in a result. */
const COLUMNS_PER_QUERY = 100;

/**
 * Counts the values of the columns of a table.
 * @param options.onRows told the number of rows of each step
 * @param options.columns those that are counted: without this, all that are not generated
 * @param options.wanted kinds that are asked for by column name, whose questions the declared type would not raise
 */
export async function tableFacts(
  db: Database.Database,
  table: SourceTable,
  { onRows, columns, wanted }: CensusOptions = {},
): Promise<TableFacts> {
  const counted = columns ?? table.columns.filter((column) => column.generated === 'no');
  const census = new TableCensus(db, table, counted, wanted ?? new Map());
  const ranges = rangesOf(db, table);
  const pace = new Pace();
  for (;;) {
    const rows = await pace.step((limit) =>
      readTransaction(db, () => {
        const range = ranges.next(limit);
        return range === null ? null : census.add(range);
      }),
    );
    if (rows === null) return census.facts;
    pace.largest(census.facts.largestRow);
    onRows?.(rows);
  }
}

/** A column with the questions that every range is asked about it. */
interface Asked {
  column: SourceColumn;
  facts: ColumnFacts;
  questions: Questions;
}

class TableCensus {
  readonly facts: TableFacts = { rows: 0, largestRow: 0, columns: new Map() };
  private readonly db: Database.Database;
  private readonly name: string;
  private readonly rowSize: string;
  private readonly groups: Asked[][] = [];
  private readonly rowid: ColumnFacts | undefined;
  private readonly statements = new Map<string, Database.Statement<unknown[], unknown[]>>();

  constructor(
    db: Database.Database,
    table: SourceTable,
    columns: SourceColumn[],
    wanted: ReadonlyMap<string, ColumnKind>,
  ) {
    this.db = db;
    this.name = table.name;
    const indexed = new Set([
      ...table.primaryKey,
      ...table.indexes.flatMap((index) => index.terms.map((term) => term.column)),
    ]);
    // An expression may be over any column.
    const anyIndexed = table.indexes.some((index) => !index.plain);
    const asked: Asked[] = [];
    for (const column of columns) {
      const facts = noFacts();
      this.facts.columns.set(column.name, facts);
      // A rowid is always an integer.
      if (table.rowidAlias && column.name === table.primaryKey[0]) this.rowid = facts;
      else
        asked.push({
          column,
          facts,
          questions: firstQuestions(column, anyIndexed || indexed.has(column.name), wanted.get(column.name)),
        });
    }
    for (let i = 0; i < asked.length; i += COLUMNS_PER_QUERY)
      this.groups.push(asked.slice(i, i + COLUMNS_PER_QUERY));
    this.rowSize = rowSizeSql(columns);
  }

  /** Adds the rows of a range and returns their number. */
  add(range: Range): number {
    const [rows, largest] = this.numbers(['count(*)', `max(${this.rowSize})`], range) as [number, number];
    this.facts.rows += rows;
    this.facts.largestRow = Math.max(this.facts.largestRow, largest);
    if (this.rowid !== undefined) this.rowid.integers += rows;
    for (const group of this.groups) {
      const answers = this.numbers(
        group.flatMap(({ questions }) => Object.values(questions)),
        range,
      );
      const doubtful = group.filter((asked) => this.addAnswers(asked, answers, rows, range));
      this.addBadTexts(doubtful, range, rows * largest);
    }
    return rows;
  }

  /**
   * Takes a column's answers off the front.
   * @returns whether its texts are still to be checked byte by byte
   */
  private addAnswers(
    { column, facts, questions }: Asked,
    answers: number[],
    rows: number,
    range: Range,
  ): boolean {
    const found: ColumnFacts & { values: number } = { ...noFacts(), values: 0 };
    const take = (asked: Questions, numbers: number[]): void => {
      for (const question of Object.keys(asked) as Question[]) found[question] = numbers.shift()!;
    };
    take(questions, answers);
    if (found.integers + found.reals + found.texts + found.blobs < found.values) {
      const further = furtherQuestions(column);
      take(further, this.numbers(Object.values(further), range));
    }
    found.nulls = rows - found.values;
    for (const fact of Object.keys(facts) as (keyof ColumnFacts)[]) {
      if (fact === 'longest') facts.longest = Math.max(facts.longest, found.longest);
      else facts[fact] += found[fact];
    }
    return found.texts > found.datetimes + found.dates;
  }

  private addBadTexts(columns: Asked[], range: Range, bytes: number): void {
    if (columns.length === 0) return;
    let doubtful = columns;
    if (bytes <= TOGETHER_BYTES) {
      const joined = columns.map(({ column }) => `CAST(group_concat(${textSql(column)}, x'0a') AS BLOB)`);
      const texts = this.row(joined, range) as (Buffer | null)[];
      doubtful = columns.filter((_, i) => texts[i] !== null && isBad(texts[i]!));
    }
    for (const { column, facts } of doubtful) {
      const sql = `SELECT CAST(${textSql(column)} AS BLOB) ${this.from(range)} AND ${textSql(column)} IS NOT NULL`;
      for (const [text] of this.prepared(sql).iterate(...range.parameters) as Iterable<[Buffer]>) {
        if (!isUtf8(text)) facts.invalidTexts++;
        else if (isBad(text)) facts.nulTexts++;
      }
    }
  }

  private from(range: Range): string {
    return `FROM ${quoted(this.name)} t WHERE ${range.condition}`;
  }

  /** Aggregates as numbers; one over no rows or only NULL is 0. */
  private numbers(aggregates: string[], range: Range): number[] {
    return this.row(aggregates, range).map((value) => Number(value ?? 0));
  }

  private row(aggregates: string[], range: Range): unknown[] {
    return this.prepared(`SELECT ${aggregates.join(', ')} ${this.from(range)}`).get(...range.parameters)!;
  }

  private prepared(sql: string): Database.Statement<unknown[], unknown[]> {
    let statement = this.statements.get(sql);
    if (statement === undefined) {
      statement = this.db.prepare<unknown[], unknown[]>(sql).raw() as Database.Statement<
        unknown[],
        unknown[]
      >;
      this.statements.set(sql, statement);
    }
    return statement;
  }
}

/** UTF-8 that is broken, or holds a NUL. A separator between texts is ASCII, so it hides no broken end. */
function isBad(text: Buffer): boolean {
  return !isUtf8(text) || text.includes(0);
}
