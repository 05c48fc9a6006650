/**
 * Splits a stream of SQL text into its statements, by the rules of SQLite's own sqlite3_complete()
 * (https://sqlite.org/c3ref/complete.html, complete.c): a semicolon ends a statement unless it stands in a string, a quoted
 * name or a comment; inside CREATE TRIGGER only `; END ;` does. Works on bytes, because the text may not be UTF-8, and holds
 * one statement at a time.
 */
import { CrossfadeError } from '../errors.ts';

export interface Statement {
  /** From its first token to its semicolon. */
  sql: Buffer;
  /** Line of its first token, from 1. */
  line: number;
  /** A bare word `Infinity` stands in it. */
  infinity: boolean;
  /** A number of 16 digits or more stands in it. */
  longNumber: boolean;
}

/** A JavaScript string holds twice as much. */
const LARGEST_STATEMENT = 256 * 1024 * 1024;
/** Integers from here on may be beyond 2^53. */
const LONG_NUMBER_DIGITS = 16;

/** The states of complete.c. */
type State = 'start' | 'normal' | 'explain' | 'create' | 'trigger' | 'semi' | 'end';
type Token = 'semi' | 'other' | 'explain' | 'create' | 'temp' | 'trigger' | 'end';

/** What follows where a token is not named is `other`'s. */
const NEXT: Record<State, Partial<Record<Token, State>> & { other: State }> = {
  start: { semi: 'start', explain: 'explain', create: 'create', other: 'normal' },
  normal: { semi: 'start', other: 'normal' },
  explain: {
    semi: 'start',
    create: 'create',
    other: 'explain',
    temp: 'normal',
    trigger: 'normal',
    end: 'normal',
  },
  create: { semi: 'start', temp: 'create', trigger: 'trigger', other: 'normal' },
  trigger: { semi: 'semi', other: 'trigger' },
  semi: { semi: 'semi', end: 'end', other: 'trigger' },
  end: { semi: 'start', other: 'trigger' },
};

const KEYWORDS = new Map<string, Token>([
  ['explain', 'explain'],
  ['create', 'create'],
  ['temp', 'temp'],
  ['temporary', 'temp'],
  ['trigger', 'trigger'],
  ['end', 'end'],
]);
const LONGEST_KEYWORD = 9;

/** Where in a token the last byte left off. */
type Mode =
  'between' | 'word' | 'quoted' | 'dash' | 'slash' | 'line-comment' | 'block-comment' | 'block-star';

const [LF, QUOTE, DOUBLE, BACKTICK, OPEN, CLOSE] = [0x0a, 0x27, 0x22, 0x60, 0x5b, 0x5d];
const [DASH, SLASH, STAR, SEMICOLON] = [0x2d, 0x2f, 0x2a, 0x3b];

export class StatementSplitter {
  private state: State = 'start';
  private mode: Mode = 'between';
  /** The byte that ends a quoted token. */
  private closing = 0;
  private word = '';
  private wordLength = 0;
  private digits = 0;
  private parts: Buffer[] = [];
  private size = 0;
  private begun = false;
  private infinity = false;
  private longNumber = false;
  /** Line of the first token of the statement under way. */
  line = 1;
  /** Line of the last byte. */
  lastLine = 1;

  /** Is the text so far nothing but whole statements? A comment may be open. */
  get atRest(): boolean {
    return !this.begun;
  }

  /** @throws CrossfadeError InvalidInput where a statement has no end */
  *push(chunk: Buffer): Generator<Statement> {
    let start = 0;
    let counted = 0;
    const countTo = (end: number): void => {
      for (let at = chunk.indexOf(LF, counted); at !== -1 && at < end; at = chunk.indexOf(LF, at + 1))
        this.lastLine++;
      counted = end;
    };
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i]!;
      switch (this.mode) {
        case 'quoted': {
          const end = chunk.indexOf(this.closing, i);
          i = end === -1 ? chunk.length : end;
          // A doubled quote ends a token and begins another: the same to a splitter.
          if (end !== -1) this.mode = 'between';
          continue;
        }
        case 'line-comment': {
          const end = chunk.indexOf(LF, i);
          i = end === -1 ? chunk.length : end;
          if (end !== -1) this.mode = 'between';
          continue;
        }
        case 'block-comment': {
          const end = chunk.indexOf(STAR, i);
          i = end === -1 ? chunk.length : end;
          if (end !== -1) this.mode = 'block-star';
          continue;
        }
        case 'block-star':
          if (byte === SLASH) this.mode = 'between';
          else if (byte !== STAR) this.mode = 'block-comment';
          continue;
        case 'dash':
        case 'slash':
          if (this.mode === 'dash' ? byte === DASH : byte === STAR) {
            this.mode = this.mode === 'dash' ? 'line-comment' : 'block-comment';
            if (this.state === 'start') this.forget();
            continue;
          }
          this.take('other');
          this.mode = 'between';
          break;
        case 'word':
          if (isWordByte(byte)) {
            this.wordByte(byte);
            continue;
          }
          this.endWord();
          break;
        case 'between':
          break;
      }
      if (byte <= 0x20) continue;
      if (!this.begun) {
        countTo(i);
        this.line = this.lastLine;
        this.begun = true;
        start = i;
      }
      if (isWordByte(byte)) {
        this.mode = 'word';
        this.word = '';
        this.wordLength = 0;
        this.digits = 0;
        this.wordByte(byte);
      } else if (byte === QUOTE || byte === DOUBLE || byte === BACKTICK || byte === OPEN) {
        this.take('other');
        this.mode = 'quoted';
        this.closing = byte === OPEN ? CLOSE : byte;
      } else if (byte === DASH) this.mode = 'dash';
      else if (byte === SLASH) this.mode = 'slash';
      else if (byte === SEMICOLON) {
        const empty = this.state === 'start';
        this.take('semi');
        if (this.state !== 'start') continue;
        if (empty) {
          this.forget();
          continue;
        }
        this.parts.push(chunk.subarray(start, i + 1));
        yield {
          sql: this.parts.length === 1 ? this.parts[0]! : Buffer.concat(this.parts),
          line: this.line,
          infinity: this.infinity,
          longNumber: this.longNumber,
        };
        this.forget();
      } else this.take('other');
    }
    countTo(chunk.length);
    if (!this.begun) return;
    this.parts.push(chunk.subarray(start));
    this.size += chunk.length - start;
    if (this.size > LARGEST_STATEMENT) {
      throw new CrossfadeError(
        'InvalidInput',
        `line ${this.line}: a statement begins there that does not end within ${LARGEST_STATEMENT >> 20} MiB: is a quote missing?`,
      );
    }
  }

  private take(token: Token): void {
    const next = NEXT[this.state];
    this.state = next[token] ?? next.other;
  }

  private wordByte(byte: number): void {
    this.wordLength++;
    if (this.wordLength <= LONGEST_KEYWORD) this.word += String.fromCharCode(byte);
    if (byte >= 0x30 && byte <= 0x39) {
      this.digits++;
      if (this.digits === LONG_NUMBER_DIGITS && this.digits === this.wordLength) this.longNumber = true;
    }
  }

  private endWord(): void {
    this.mode = 'between';
    const word = this.wordLength <= LONGEST_KEYWORD ? this.word : '';
    if (word === 'Infinity') this.infinity = true;
    this.take(KEYWORDS.get(word.toLowerCase()) ?? 'other');
  }

  private forget(): void {
    this.parts = [];
    this.size = 0;
    this.begun = false;
    this.infinity = false;
    this.longNumber = false;
  }
}

/** Letters, digits, `_`, `$` and everything beyond ASCII. */
function isWordByte(byte: number): boolean {
  return (
    (byte >= 0x61 && byte <= 0x7a) ||
    (byte >= 0x30 && byte <= 0x39) ||
    (byte >= 0x41 && byte <= 0x5a) ||
    byte >= 0x80 ||
    byte === 0x5f ||
    byte === 0x24
  );
}
