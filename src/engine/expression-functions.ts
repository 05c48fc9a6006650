/** SQLite's functions that PostgreSQL can do alike for every value, each with the arguments for which that is certain. */
import type { ColumnKind } from '../contract.ts';
import { dayText, fieldText, timeText } from '../databases/moment.ts';
import { affinityOf } from '../databases/sqlite/affinity.ts';
import {
  asDouble,
  asNumber,
  asText,
  asValue,
  compared,
  isNumber,
  isTextual,
  madeText,
  truth,
  Uncertain,
  unified,
  value,
  type Node,
  type ValueNode,
} from './expression-nodes.ts';

export type Call = (args: Node[]) => Node;

/** @param name in lower case @throws Uncertain */
export function called(name: string, args: Node[]): Node {
  const call = FUNCTIONS[name];
  if (call === undefined) throw new Uncertain();
  return call(args);
}

const FUNCTIONS: Record<string, Call> = {
  // Both fold ASCII letters only: SQLite always, PostgreSQL because the text's collation is "C".
  lower: (args) => textOf(args, (text) => `lower(${text})`),
  upper: (args) => textOf(args, (text) => `upper(${text})`),
  trim: (args) => trimmed('btrim', args),
  ltrim: (args) => trimmed('ltrim', args),
  rtrim: (args) => trimmed('rtrim', args),
  replace: (args) => {
    const [text, ...others] = texts(args, 3);
    return value('text', `replace(${[text, ...others].map((node) => node!.sql).join(', ')})`);
  },
  length: (args) => {
    const only = one(args);
    if (only.kind !== 'text' && only.kind !== 'bytea') throw new Uncertain();
    return value('bigint', `length(${only.sql})`, { least: 0n });
  },
  instr: (args) => {
    const [text, part] = texts(args, 2);
    return value('bigint', `strpos(${text!.sql}, ${part!.sql})`, { least: 0n });
  },
  substr: substring,
  substring,
  hex: (args) => {
    const only = one(args);
    if (only.kind !== 'bytea') throw new Uncertain();
    // Of NULL it is the empty text.
    return madeText(`coalesce(upper(encode(${only.sql}, 'hex')), '')`);
  },
  abs: (args) => {
    const only = asNumber(one(args));
    if (only.kind !== 'double') return { ...only, sql: `abs(${only.sql})`, least: 0n };
    // SQLite leaves -0.0 as it is.
    return { ...only, sql: `(CASE WHEN ${only.sql} < 0 THEN -${only.sql} ELSE ${only.sql} END)` };
  },
  round: (args) => rounded(asNumber(one(args))),
  coalesce,
  ifnull: coalesce,
  nullif: (args) => {
    if (args.length !== 2) throw new Uncertain();
    const { like, sql } = unified([asValue(args[0]!), args[1]!]);
    compared('=', args[0]!, args[1]!);
    return { ...like, sql: `nullif(${sql.join(', ')})` };
  },
  iif: (args) => {
    const branches: [Node, Node][] = [];
    for (let i = 0; i + 1 < args.length; i += 2) branches.push([args[i]!, args[i + 1]!]);
    return cases(branches, args.length % 2 === 1 ? args.at(-1)! : null);
  },
  min: (args) => extreme('least', args),
  max: (args) => extreme('greatest', args),
  date: (args) => day(one(args)),
  datetime: (args) => value('timestamp', moment(one(args))),
  time: (args) => madeText(timeText(moment(one(args)))),
  unixepoch: (args) => value('bigint', `floor(extract(epoch FROM ${moment(one(args))}))::bigint`),
  strftime: (args) => {
    const [format, at] = args;
    if (args.length !== 2 || format?.type !== 'literal' || format.literal.kind !== 'string')
      throw new Uncertain();
    return formatted(format.literal.value, moment(asValue(at!)));
  },
};

FUNCTIONS['if'] = FUNCTIONS['iif']!;

function one(args: Node[]): ValueNode {
  if (args.length !== 1 || args[0]!.type === 'literal') throw new Uncertain();
  return asValue(args[0]!);
}

/** Texts, of which the first is none that is only written here. */
function texts(args: Node[], count: number): ValueNode[] {
  if (args.length !== count || kindOfValue(args[0]!) !== 'text') throw new Uncertain();
  return args.map(asText);
}

function kindOfValue(node: Node): ColumnKind | null {
  return node.type === 'value' ? node.kind : null;
}

function textOf(args: Node[], sql: (text: string) => string): Node {
  const only = one(args);
  if (only.kind !== 'text') throw new Uncertain();
  return value('text', sql(only.sql), only.digits === true ? { digits: true } : {});
}

/** Without more arguments both take away spaces only. */
function trimmed(name: string, args: Node[]): Node {
  if (args.length === 1) return textOf(args, (text) => `${name}(${text})`);
  const [text, characters] = texts(args, 2);
  return value('text', `${name}(${text!.sql}, ${characters!.sql})`);
}

/** PostgreSQL knows no negative start and no negative length, and counts from 1 as SQLite does. */
function substring(args: Node[]): Node {
  if (args.length !== 2 && args.length !== 3) throw new Uncertain();
  const [whole] = args;
  if (whole!.type === 'literal' && whole!.literal.kind !== 'string') throw new Uncertain();
  const text = whole!.type === 'literal' ? asValue(whole!) : asText(whole!);
  const start = asNumber(args[1]!);
  const length = args[2] === undefined ? null : asNumber(args[2]);
  if (start.kind !== 'bigint' || (length !== null && length.kind !== 'bigint')) throw new Uncertain();
  const from = literalNumber(args[1]!);
  if (from !== null && from < 0n) {
    if (length === null) return value('text', `right(${text.sql}, ${-from})`);
    if (length.least === undefined || length.least < 0n) throw new Uncertain();
    return value('text', `substr(${text.sql}, length(${text.sql}) - ${-from} + 1, (${length.sql})::int)`);
  }
  if (start.least === undefined || start.least < 0n) throw new Uncertain();
  const begin = `(${start.sql})::int`;
  if (length === null) return value('text', `substr(${text.sql}, ${begin})`);
  if (length.least !== undefined && length.least >= 0n)
    return value('text', `substr(${text.sql}, ${begin}, (${length.sql})::int)`);
  // A negative length means the characters before the start, of which there are none.
  if (from !== 0n && from !== 1n) throw new Uncertain();
  const some = `CASE WHEN ${length.sql} < 0 THEN 0 ELSE (${length.sql})::int END`;
  return value('text', `substr(${text.sql}, ${begin}, ${some})`);
}

function literalNumber(node: Node): bigint | null {
  if (node.type !== 'literal') return null;
  return asNumber(node).least ?? null;
}

/** Half away from zero, always a REAL, as SQLite computes it; to decimal places the two round differently. */
function rounded(node: ValueNode): Node {
  const x = asDouble(node);
  return value(
    'double',
    `(CASE WHEN abs(${x}) > 4503599627370496 THEN ${x} WHEN ${x} < 0 THEN trunc(${x} - 0.5) + 0 ELSE trunc(${x} + 0.5) END)`,
    { real: true },
  );
}

function coalesce(args: Node[]): Node {
  if (args.length < 2 || args[0]!.type === 'literal') throw new Uncertain();
  const { like, sql } = unified(args);
  return { ...like, sql: `coalesce(${sql.join(', ')})` };
}

/** Unlike PostgreSQL's, SQLite's is NULL where any argument is. Doubles are left out for the sign of zero. */
function extreme(name: string, args: Node[]): Node {
  if (args.length < 2) throw new Uncertain();
  const { like, sql } = unified(args);
  if (!isTextual(like.kind) && like.kind !== 'bigint' && like.kind !== 'bytea') throw new Uncertain();
  const { least: _, ...kept } = like;
  const nulls = sql.map((arg) => `${arg} IS NULL`).join(' OR ');
  return { ...kept, sql: `(CASE WHEN ${nulls} THEN NULL ELSE ${name}(${sql.join(', ')}) END)` };
}

/** CASE WHEN …; the branches of one kind. */
export function cases(branches: [Node, Node][], otherwise: Node | null): Node {
  if (branches.length === 0) throw new Uncertain();
  const { like, sql } = unified([
    ...branches.map(([, then]) => then),
    ...(otherwise === null ? [] : [otherwise]),
  ]);
  const whens = branches.map(([when], i) => `WHEN ${truth(when)} THEN ${sql[i]!}`).join(' ');
  const rest = otherwise === null ? '' : ` ELSE ${sql.at(-1)!}`;
  return { ...like, sql: `(CASE ${whens}${rest} END)` };
}

function day(node: ValueNode): Node {
  if (node.kind === 'date') return node;
  if (node.kind === 'timestamp') return value('date', `CAST(${node.sql} AS date)`);
  throw new Uncertain();
}

function moment(node: ValueNode): string {
  if (node.kind === 'timestamp') return node.sql;
  if (node.kind === 'date') return `(${node.sql})::timestamp`;
  throw new Uncertain();
}

const FIELDS: Record<string, [field: string, digits: number]> = {
  Y: ['year', 4],
  m: ['month', 2],
  d: ['day', 2],
  H: ['hour', 2],
  M: ['minute', 2],
  S: ['second', 2],
  j: ['doy', 3],
  w: ['dow', 1],
};

function formatted(format: string, at: string): Node {
  const parts = format.match(/%[^]|[^%]+/g) ?? [];
  const sql = parts.map((part) => {
    if (part[0] !== '%') return asText({ type: 'literal', literal: { kind: 'string', value: part } }).sql;
    if (part === '%s') return `floor(extract(epoch FROM ${at}))::bigint::text`;
    if (part === '%F') return dayText(at);
    if (part === '%T') return timeText(at);
    const field = FIELDS[part[1]!];
    if (field === undefined) throw new Uncertain();
    return fieldText(...field, at);
  });
  if (sql.length === 0) throw new Uncertain();
  const digits = parts.every(
    (part) => part !== '%s' && FIELDS[part[1] ?? ''] !== undefined && part[0] === '%',
  );
  return madeText(`(${sql.join(' || ')})`, digits && sql.length <= 4 ? { digits: true } : {});
}

/** @param type the type's name as written */
export function cast(node: Node, type: string): Node {
  switch (affinityOf(type)) {
    case 'INTEGER':
      return integer(asValue(node));
    case 'REAL':
      return value('double', asDouble(asNumber(node)), { real: true });
    case 'TEXT':
      return asText(asValue(node));
    case 'NUMERIC':
    case 'BLOB':
      throw new Uncertain();
  }
}

/** SQLite cuts a real off, and reads a text up to its first character that is not a digit. */
function integer(node: ValueNode): Node {
  if (node.kind === 'text' && node.digits === true)
    return value('bigint', `(${node.sql})::bigint`, { least: 0n });
  const number = asNumber(node);
  if (number.kind === 'bigint') return number;
  if (!isNumber(number.kind)) throw new Uncertain();
  return value('bigint', `trunc(${number.sql})::bigint`);
}
