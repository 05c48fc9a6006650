/** Values as SQL literals of SQLite, and the kinds of columns that hold them; small pools, so that rows collide. */
import fc from 'fast-check';

const INTEGERS = [
  '0',
  '1',
  '-1',
  '2',
  '7',
  '9007199254740993',
  '9223372036854775807',
  '-9223372036854775808',
  '1700000000',
  '1700000000123',
];
/** The fourth is 2^63, the least that is no integer any more. */
const REALS = [
  '0.5',
  '0.30000000000000004',
  '-0.0',
  '9223372036854775808.0',
  '1e308',
  '5e-324',
  '9e999',
  '-9e999',
  '3.0',
  '1e15',
  '4503599627370497.5',
  '123456.789',
];
const DECIMALS = ['0', '1', '0.1', '19.99', '-5', '1234567.25', '100000000000000'];
const WORDS = [
  `''`,
  `'a'`,
  `'A'`,
  `'b'`,
  `'b '`,
  `'é'`,
  `'É'`,
  `'漢字 🎉'`,
  `'it''s "x"'`,
  `'back\\slash'`,
  `'\\N'`,
  `'\\.'`,
  `'tab\t'`,
  `'line\nfeed'`,
  `'\r'`,
  `'007'`,
  `'5'`,
  `' 5'`,
  `'5.0'`,
  `'1e3'`,
  `'true'`,
  `'NULL'`,
  `'\\s5'`,
  `'\\x00'`,
  `'0x10'`,
  `'Infinity'`,
  `replace(hex(zeroblob(150)), '00', 'ab')`,
];
/** Texts with a NUL, and texts that are not UTF-8. */
const BROKEN_TEXTS = [
  `CAST(x'610062' AS TEXT)`,
  `CAST(x'00' AS TEXT)`,
  `CAST(x'ff61' AS TEXT)`,
  `CAST(x'c3' AS TEXT)`,
];
const BLOBS = [`x''`, `x'00'`, `x'00ff'`, `x'61'`, `x'5c78'`, `x'ff'`];
const DATETIMES = [
  `'2024-01-31 12:00:00'`,
  `'1969-12-31 23:59:59'`,
  `'0001-01-01 00:00:00'`,
  `'9999-12-31 23:59:59'`,
];
const ISO_DATETIMES = [
  `'2024-01-31T12:00:00.000Z'`,
  `'1969-12-31T23:59:59.050Z'`,
  `'0001-01-01T00:00:00.000Z'`,
  `'9999-12-31T23:59:59.999Z'`,
];
/** One form each, all of which PostgreSQL gives back. */
const MORE_DATETIMES = [' .SSS', ' .SSSSSS', 'T', 'TZ', ' +00:00', ' .SSS +00:00'].map((form) => {
  const [, separator, digits = '', zone] = /^([T ])(?:\.(S+))?(Z| ?\+00:00)?$/.exec(form)!;
  return ['2024-01-31 12:00:00.000000', '1969-12-31 23:59:59.050001', '0001-01-01 00:00:00.120000', '9999-12-31 23:59:59.999999'] // prettier-ignore
    .map((text) => {
      const fraction = digits === '' ? '' : text.slice(19, 20 + digits.length);
      return `'${text.slice(0, 10)}${separator!}${text.slice(11, 19)}${fraction}${zone ?? ''}'`;
    });
});
const OTHER_DATETIMES = [
  `'2024-01-31T12:00:00Z'`,
  `'2024-01-31 12:00:00.123'`,
  `'2024-01-31 12:00:00.123456789+02:00'`,
  `'2024-02-30 00:00:00'`,
  `'2024-01-31 24:00:00'`,
  `'now'`,
  '1700000000',
  '1700000000123',
  '2460340.999',
];
const DATES = [`'2024-02-29'`, `'1970-01-01'`, `'0001-01-01'`, `'9999-12-31'`];
const JSONS = [
  `'{}'`,
  `'{"a": 1.0, "b":[null]}'`,
  `'[]'`,
  `'"x"'`,
  `' null '`,
  `'{"é":"\\u00e9"}'`,
  `'{"a":1,"a":2}'`,
];
const UUIDS = [`'0b9a6b2e-9f2c-4f27-8e2e-0d6c5a1d9e11'`, `'0B9A6B2E9F2C4F278E2E0D6C5A1D9E11'`];
const EVERYTHING = [
  ...INTEGERS,
  ...REALS,
  ...WORDS,
  ...BROKEN_TEXTS,
  ...BLOBS,
  ...DATETIMES,
  ...ISO_DATETIMES,
  ...OTHER_DATETIMES,
  ...DATES,
];

const integer = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);
const real = fc.double({ noNaN: true, noDefaultInfinity: true }).map(realLiteral);
const text = fc.string({ unit: 'binary', maxLength: 12 }).map(textLiteral);
const blob = fc.uint8Array({ maxLength: 8 }).map((bytes) => `x'${Buffer.from(bytes).toString('hex')}'`);

function realLiteral(value: number): string {
  const digits = Object.is(value, -0) ? '-0.0' : value.toPrecision(17);
  return /[.e]/.test(digits) ? digits : `${digits}.0`;
}

function textLiteral(value: string): string {
  const bytes = Buffer.from(value, 'utf8');
  return value.includes('\0')
    ? `CAST(x'${bytes.toString('hex')}' AS TEXT)`
    : `'${value.replaceAll(`'`, `''`)}'`;
}

/** A way to use a column: its declared type, and the values that belong there. */
export interface Flavour {
  declared: string;
  /** Declared type in a STRICT table. */
  strict: string;
  /** What expressions may be made of it. */
  nature: 'number' | 'text' | 'other';
  value: fc.Arbitrary<string>;
}

function flavour(
  declared: string,
  strict: string,
  nature: Flavour['nature'],
  usual: readonly string[],
  random?: fc.Arbitrary<string>,
): Flavour {
  const common = fc.constantFrom(...usual);
  const value =
    random === undefined
      ? common
      : fc.oneof({ weight: 4, arbitrary: common }, { weight: 1, arbitrary: random });
  return { declared, strict, nature, value };
}

export const FLAVOURS: readonly Flavour[] = [
  flavour('INTEGER', 'INTEGER', 'number', INTEGERS, integer),
  flavour('INT', 'INT', 'number', INTEGERS, integer),
  flavour('BIGINT', 'INT', 'number', INTEGERS, integer),
  flavour('REAL', 'REAL', 'other', REALS, real),
  flavour('DOUBLE PRECISION', 'REAL', 'other', REALS, real),
  flavour('NUMERIC', 'ANY', 'other', [...DECIMALS, ...REALS]),
  flavour('DECIMAL(10,2)', 'ANY', 'other', DECIMALS),
  flavour('TEXT', 'TEXT', 'text', WORDS, text),
  flavour('TEXT', 'TEXT', 'other', BROKEN_TEXTS, text),
  flavour('VARCHAR(5)', 'TEXT', 'text', WORDS, text),
  flavour('', 'ANY', 'text', WORDS, text),
  flavour('', 'ANY', 'number', INTEGERS, integer),
  flavour('', 'ANY', 'other', REALS, real),
  flavour('BLOB', 'BLOB', 'other', BLOBS, blob),
  flavour('BOOLEAN', 'INT', 'other', ['0', '1', 'true', 'false']),
  flavour('DATETIME', 'TEXT', 'other', DATETIMES),
  flavour('DATETIME', 'TEXT', 'other', ISO_DATETIMES),
  ...MORE_DATETIMES.map((form) => flavour('DATETIME', 'TEXT', 'other', form)),
  flavour('TIMESTAMP', 'ANY', 'other', [...DATETIMES, ...OTHER_DATETIMES]),
  flavour('DATE', 'TEXT', 'other', DATES),
  flavour('JSON', 'TEXT', 'other', JSONS),
  flavour('STRING', 'ANY', 'other', WORDS),
  flavour('uuid', 'TEXT', 'text', UUIDS),
  flavour('my "odd" type', 'ANY', 'other', WORDS),
];

/** What SQLite takes in any column: any storage class. */
export const ANYTHING = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...EVERYTHING) },
  { weight: 1, arbitrary: fc.oneof(integer, real, text, blob) },
);

/** Names that have been mistaken somewhere, those of our own SQL included. */
export const NAMES: readonly string[] = [
  'a',
  'b',
  'id',
  'name',
  'order',
  'select',
  'user',
  'Mixed',
  'two words',
  'quo"te',
  `apos'trophe`,
  'ünï',
  '🎉',
  'back\\slash',
  'semi; colon --',
  '$1',
  '?',
  '%s',
  'xmin',
  'ctid',
  'rowid',
  'oid',
  'pg_type',
  'new',
  's',
  't',
  'r',
  'd',
  'k0',
  'key',
  'data',
  'last',
  'seq',
  'excluded',
  'line\nfeed',
  'x'.repeat(63),
  'x'.repeat(64),
  `${'x'.repeat(64)}y`,
  'é'.repeat(40),
  '',
];
