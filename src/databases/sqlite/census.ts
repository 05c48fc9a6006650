/**
 * Census: what values each column holds. It only counts, so that the choice of a type can be made, explained and
 * tested apart from SQLite. The source is read in short synchronous steps; rows that change meanwhile are seen or not,
 * and what the census misses, replay finds.
 */
import { isUtf8 } from 'node:buffer';
import type Database from 'better-sqlite3';
import type { ColumnKind } from '../../contract.ts';
import { quoted } from '../identifiers.ts';
import { MOMENT_KINDS, momentForm } from '../moment.ts';
import {
  decimalsQuestion,
  firstQuestions,
  furtherQuestions,
  isOfDates,
  lengthsSql,
  momentQuestions,
  rowidQuestions,
  rowSizeSql,
  textSql,
  tooLongQuestion,
  type Question,
  type Questions,
} from './census-sql.ts';
import { addFact, addForm, noFacts, type ColumnFacts, type Fact } from './column-facts.ts';
import { declaredLength } from './declared.ts';
import { CANONICAL_DATE, dateForm } from './date-form.ts';
import { Pace } from './pace.ts';
import { rangesOf, type Range } from './ranges.ts';
import type { SourceColumn, SourceTable } from './schema.ts';
import { readTransaction } from './transaction.ts';

export type { ColumnFacts } from './column-facts.ts';

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

/** Texts of a step are checked together up to this size, one by one above it. */
const TOGETHER_BYTES = 8 * 1024 * 1024;
const FACTS = Object.keys(noFacts()).filter((name): name is Fact => name !== 'forms');
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
  /** Are its texts dates? */
  dated: boolean;
  questions: Questions;
}

class TableCensus {
  readonly facts: TableFacts = { rows: 0, largestRow: 0, columns: new Map() };
  private readonly db: Database.Database;
  private readonly name: string;
  private readonly rowSize: string;
  private readonly groups: Asked[][] = [];
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
      const { name } = column;
      asked.push({
        column,
        facts,
        dated: isOfDates(column),
        questions:
          table.rowidAlias && name === table.primaryKey[0] && !wanted.has(name)
            ? rowidQuestions(column)
            : firstQuestions(column, anyIndexed || indexed.has(name), wanted.get(name)),
      });
    }
    for (let i = 0; i < asked.length; i += COLUMNS_PER_QUERY)
      this.groups.push(asked.slice(i, i + COLUMNS_PER_QUERY));
    this.rowSize = rowSizeSql(columns);
  }

  /** Adds the rows of a range and returns their number. */
  add(range: Range): number {
    const [first = [], ...more] = this.groups;
    const sizes = ['count(*)', `max(${this.rowSize})`];
    const [count, size, ...answers] = this.row([...sizes, ...questionsOf(first)], range);
    const [rows, largest] = [Number(count), Number(size ?? 0)];
    this.facts.rows += rows;
    this.facts.largestRow = Math.max(this.facts.largestRow, largest);
    const addGroup = (group: Asked[], found: unknown[]): void => {
      const doubtful = group.filter((asked) => this.addAnswers(asked, found, rows, range));
      this.addTexts(doubtful, range, rows * largest);
    };
    addGroup(first, answers);
    for (const group of more) addGroup(group, this.row(questionsOf(group), range));
    return rows;
  }

  /**
   * Takes a column's answers off the front.
   * @returns whether its texts are still to be looked at one by one
   */
  private addAnswers(
    { column, facts, questions, dated }: Asked,
    answers: unknown[],
    rows: number,
    range: Range,
  ): boolean {
    const found = noFacts();
    let values = 0;
    const take = (asked: Questions, from: unknown[]): void => {
      for (const question of Object.keys(asked) as Question[]) {
        if (question === 'values') values = Number(from.shift());
        else addFact(found, question, from.shift());
      }
    };
    const ask = (further: Questions): void => take(further, this.row(Object.values(further), range));
    take(questions, answers);
    if (found.integers + found.reals + found.texts + found.blobs < values) ask(furtherQuestions(column));
    if (questions.inScale !== undefined) {
      if (found.inScale === found.reals) found.decimals = found.reals;
      else ask(decimalsQuestion(column));
    }
    const asMoments = questions.timestamp !== undefined;
    if (asMoments && found.texts > found.timestamp + found.timestamptz + found.dates) {
      const [shortest, longest] = this.row(lengthsSql(column), range);
      // Of several lengths they are of several forms, and none holds them all.
      const further = shortest === longest ? momentQuestions(column, Number(shortest)) : {};
      if (Object.keys(further).length > 0) ask(further);
    }
    if (found.longestText > (declaredLength(column) ?? Infinity)) ask(tooLongQuestion(column));
    found.nulls = rows - values;
    for (const fact of FACTS) addFact(facts, fact, found[fact]);
    const moments = MOMENT_KINDS.filter((kind) => found[kind] > 0);
    if (found.texts > moments.reduce((sum, kind) => sum + found[kind], found.dates)) return true;
    if (!dated) return false;
    for (const kind of moments) addForm(facts, momentForm(kind), found[kind]);
    if (found.dates > 0) addForm(facts, CANONICAL_DATE, found.dates);
    return false;
  }

  /** Looks for broken texts, and at the forms of dates. */
  private addTexts(columns: Asked[], range: Range, bytes: number): void {
    if (columns.length === 0) return;
    let doubtful = columns;
    if (bytes <= TOGETHER_BYTES) {
      const joined = columns.map(({ column }) => `CAST(group_concat(${textSql(column)}, x'0a') AS BLOB)`);
      const texts = this.row(joined, range) as (Buffer | null)[];
      doubtful = columns.filter(({ dated, facts }, i) => {
        const text = texts[i];
        if (text === null || text === undefined) return false;
        if (isBad(text)) return true;
        if (dated) for (const one of text.toString().split('\n')) addForm(facts, dateForm(one));
        return false;
      });
    }
    for (const { column, facts, dated } of doubtful) {
      const sql = `SELECT CAST(${textSql(column)} AS BLOB) ${this.from(range)} AND ${textSql(column)} IS NOT NULL`;
      for (const [text] of this.prepared(sql).iterate(...range.parameters) as Iterable<[Buffer]>) {
        if (!isUtf8(text)) facts.invalidTexts++;
        else if (isBad(text)) facts.nulTexts++;
        if (dated) addForm(facts, dateForm(text.toString()));
      }
    }
  }

  private from(range: Range): string {
    return `FROM ${quoted(this.name)} t WHERE ${range.condition}`;
  }

  /** Integers as bigint. */
  private row(aggregates: string[], range: Range): unknown[] {
    return this.prepared(`SELECT ${aggregates.join(', ')} ${this.from(range)}`).get(...range.parameters)!;
  }

  private prepared(sql: string): Database.Statement<unknown[], unknown[]> {
    let statement = this.statements.get(sql);
    if (statement === undefined) {
      statement = this.db.prepare<unknown[], unknown[]>(sql).raw().safeIntegers() as Database.Statement<
        unknown[],
        unknown[]
      >;
      this.statements.set(sql, statement);
    }
    return statement;
  }
}

function questionsOf(group: Asked[]): string[] {
  return group.flatMap(({ questions }) => Object.values(questions));
}

/** UTF-8 that is broken, or holds a NUL. A separator between texts is ASCII, so it hides no broken end. */
function isBad(text: Buffer): boolean {
  return !isUtf8(text) || text.includes(0);
}
