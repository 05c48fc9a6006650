/** What the makers of dumps lose or may have lost, by what their dumps show of it; told, because nothing here can bring it back. */
import type Database from 'better-sqlite3';
import { counted } from '../counts.ts';
import { quoted } from '../databases/identifiers.ts';
import { readSchema } from '../databases/sqlite/schema.ts';

export class Losses {
  /** The dump was made by JavaScript, as wrangler and D1 do, whose numbers are all doubles. */
  byJavaScript = false;
  beyondDoubles = 0;
  firstBeyond = '';
  /** Values written as `replace('…','\n',char(10))`. */
  escaped = 0;
  firstEscaped = '';
  blobs = 0;
  nullsFromJson = false;

  /** @param where the place in the dump, like `line 7` */
  integers(count: number, where: string): void {
    if (count === 0) return;
    if (this.beyondDoubles === 0) this.firstBeyond = where;
    this.beyondDoubles += count;
  }

  escapes(count: number, where: string): void {
    if (count === 0) return;
    if (this.escaped === 0) this.firstEscaped = where;
    this.escaped += count;
  }

  /** One line each. @param db with everything loaded */
  notices(db: Database.Database): string[] {
    const notices: string[] = [];
    if (!this.byJavaScript) return notices;
    if (this.beyondDoubles > 0) {
      notices.push(
        `${counted(this.beyondDoubles, 'integer')} beyond 2^53 (first at ${this.firstBeyond}): wrangler rounds them when it writes them, ` +
          'so they may not be what the database has',
      );
    }
    if (this.escaped > 0) {
      notices.push(
        `${counted(this.escaped, 'text')} written with replace(…, '\\n', char(10)) (first at ${this.firstEscaped}): a backslash that was ` +
          'followed by n in one of them has become a line feed',
      );
    }
    if (this.blobs > 0) {
      notices.push(
        `${counted(this.blobs, 'value')} like "[0, 255]" in BLOB columns were read as the blobs that wrangler's JSON writes so`,
      );
    }
    if (this.nullsFromJson) notices.push("an infinity is NULL in wrangler's JSON, like NULL itself");
    const whole = columnsOfWholeReals(db);
    if (whole.length > 0) {
      notices.push(
        `integers in ${whole.join(', ')}, which hold what they are given: a real like 5.0 is written as 5, so some of them may have been reals`,
      );
    }
    return notices;
  }
}

/** Columns without a numeric affinity that hold integers: the others turn 5 into what they hold. */
function columnsOfWholeReals(db: Database.Database): string[] {
  return readSchema(db).tables.flatMap(({ name, columns }) =>
    columns
      .filter((column) => column.affinity === 'BLOB' && column.generated === 'no')
      .filter(
        (column) =>
          db
            .prepare(`SELECT 1 FROM ${quoted(name)} WHERE typeof(${quoted(column.name)}) = 'integer' LIMIT 1`)
            .get() !== undefined,
      )
      .map((column) => `${name}.${column.name}`),
  );
}
