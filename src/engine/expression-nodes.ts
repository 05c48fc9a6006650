/** What the parts of a translated expression are, and how they meet: literals, truth, comparisons, numbers, texts. */
import type { ColumnKind } from '../contract.ts';
import { asciiLower, literal } from '../databases/identifiers.ts';
import type { Affinity } from '../databases/sqlite/affinity.ts';
import { UUID } from '../databases/key.ts';
import { dayText, isMomentKind, isMomentText, momentTextSql, momentType } from '../databases/moment.ts';
import { isKeyword, type Token } from '../databases/sqlite/tokens.ts';
import { isDateText } from './date-text.ts';

/** A value of one kind, with what more is certain of it. */
export interface ValueNode {
  type: 'value';
  kind: ColumnKind;
  /** Compares bytewise. */
  binary: boolean;
  sql: string;
  /** Of a column: it converts what it is compared with. */
  affinity?: Affinity;
  /** Of a column, or as COLLATE asks for: upper case. What it is compared with is compared by it. */
  collation?: string;
  /** By COLLATE, which goes before a column's. */
  collated?: true;
  /** Of a double: every value is a REAL. Otherwise an integral one may be an integer in SQLite. */
  real?: boolean;
  /** Of a bigint: no value is less. */
  least?: bigint;
  /** Of a text: at most 18 digits and nothing else. */
  digits?: boolean;
}

/** `condition`: a truth value; literals keep their token until they meet a value. */
export type Node = { type: 'condition'; sql: string } | ValueNode | { type: 'literal'; literal: Literal };

export type Literal =
  | { kind: 'null' }
  | { kind: 'number'; text: string }
  | { kind: 'boolean'; value: boolean }
  | { kind: 'string'; value: string }
  | { kind: 'blob'; hex: string };

/** Thrown within a translation only, to leave it from any depth. */
export class Uncertain extends Error {}

export function condition(sql: string): Node {
  return { type: 'condition', sql };
}

export function value(kind: ColumnKind, sql: string, more: Partial<ValueNode> = {}): ValueNode {
  return { type: 'value', kind, binary: true, sql, ...more };
}

/** A text that no column of collation "C" is part of gets that collation, so that it compares and folds bytewise. */
export function madeText(sql: string, more: Partial<ValueNode> = {}): ValueNode {
  return value('text', `(${sql} COLLATE "C")`, more);
}

export function isNumber(kind: ColumnKind): boolean {
  return kind === 'bigint' || kind === 'numeric' || kind === 'double';
}

export function kindOf(node: Node): ColumnKind | null {
  return node.type === 'value' ? node.kind : null;
}

export function truth(node: Node): string {
  if (node.type === 'condition') return node.sql;
  if (node.type === 'value' && node.kind === 'boolean') return node.sql;
  if (node.type === 'value' && isNumber(node.kind)) return `(${node.sql} <> 0)`;
  throw new Uncertain();
}

export function isNull(node: Node, negated: boolean): Node {
  if (node.type !== 'value') throw new Uncertain();
  return condition(`(${node.sql} IS ${negated ? 'NOT ' : ''}NULL)`);
}

/** Does PostgreSQL hold it in a form that cannot be compared as the source compares it? */
export function isOpaque(kind: ColumnKind): boolean {
  return ['json', 'jsonb', 'mixed', 'instant'].includes(kind);
}

const MIRRORED: Record<string, string> = { '<': '>', '>': '<', '<=': '>=', '>=': '<=' };

export function compared(operator: string, left: Node, right: Node): Node {
  if (left.type === 'literal' && right.type === 'value')
    return compared(MIRRORED[operator] ?? operator, right, left);
  if (left.type !== 'value' || isOpaque(left.kind) || right.type === 'condition') throw new Uncertain();
  const collation = collationOf(left, right);
  if (collation !== 'BINARY' && left.kind === 'text') return folded(operator, left, right, collation);
  if (right.type === 'literal') return condition(`(${besideLiteral(operator, left, right.literal)})`);
  if (isTextual(left.kind) && isTextual(right.kind)) {
    // The side with a numeric affinity would make numbers of the other's texts.
    if (left.kind !== right.kind && isNumeric(left.affinity) !== isNumeric(right.affinity))
      throw new Uncertain();
    if (left.kind === 'text' && isNumeric(left.affinity) !== isNumeric(right.affinity)) throw new Uncertain();
    if (left.kind !== right.kind) return condition(`(${asText(left).sql} ${operator} ${asText(right).sql})`);
  }
  if (isNumber(left.kind) && isNumber(right.kind)) return numbersCompared(operator, left, right);
  if (right.kind !== left.kind) throw new Uncertain();
  return condition(`(${left.sql} ${operator} ${right.sql})`);
}

/** The left operand decides where both have a collation. */
function collationOf(left: ValueNode, right: ValueNode | { type: 'literal' }): string {
  const other = right.type === 'value' ? right : undefined;
  if (left.collated !== true && other?.collated === true) return other.collation!;
  return left.collation ?? other?.collation ?? 'BINARY';
}

/** Texts as NOCASE and RTRIM take them; of a text in collation "C", lower() folds ASCII alone. */
const FOLDS: Record<string, { name: string; of(text: string): string }> = {
  NOCASE: { name: 'lower', of: asciiLower },
  RTRIM: { name: 'rtrim', of: (text) => text.replace(/ +$/, '') },
};

function folded(operator: string, left: ValueNode, right: Node, collation: string): Node {
  const fold = FOLDS[collation];
  if (fold === undefined || isNumeric(left.affinity)) throw new Uncertain();
  const sql = `${fold.name}(${left.sql}) ${operator} `;
  if (right.type === 'literal' && right.literal.kind === 'string')
    return condition(`(${sql}${literal(fold.of(right.literal.value))})`);
  if (right.type !== 'value' || right.kind !== 'text' || isNumeric(right.affinity)) throw new Uncertain();
  return condition(`(${sql}${fold.name}(${right.sql}))`);
}

/** A text or date, which stands for a text. */
export function isTextual(kind: ColumnKind): boolean {
  return kind === 'text' || kind === 'date' || isMomentKind(kind);
}

function isNumeric(affinity: Affinity | undefined): boolean {
  return affinity === 'NUMERIC' || affinity === 'INTEGER' || affinity === 'REAL';
}

const LIKE_A_NUMBER = /^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$/;

/** Is the text what a value of the kind stands for? Any other is compared as a text. */
function isWhole(kind: ColumnKind, text: string): boolean {
  if (isMomentKind(kind)) return isMomentText(kind, text);
  return kind !== 'date' || isDateText(text);
}

/** A literal takes the affinity of the column beside it. */
function besideLiteral(operator: string, left: ValueNode, constant: Literal): string {
  if (constant.kind === 'string' && isTextual(left.kind)) {
    if (isNumeric(left.affinity) && LIKE_A_NUMBER.test(constant.value)) throw new Uncertain();
    if (!isWhole(left.kind, constant.value))
      return `${asText(left).sql} ${operator} ${literal(constant.value)}`;
  }
  if (constant.kind === 'number' && left.kind === 'text' && left.affinity === 'TEXT') {
    const integer = wholeNumber(constant.text);
    if (integer === null) throw new Uncertain();
    return `${left.sql} ${operator} ${literal(String(integer))}`;
  }
  return `${left.sql} ${operator} ${literalSql(constant, left.kind, operator)}`;
}

/** SQLite compares an integer with a real exactly. PostgreSQL does so only where the double holds the integer, too. */
function numbersCompared(operator: string, left: ValueNode, right: ValueNode): Node {
  if (left.kind === right.kind || (left.kind !== 'double' && right.kind !== 'double'))
    return condition(`(${left.sql} ${operator} ${right.sql})`);
  if (left.kind === 'double') return numbersCompared(MIRRORED[operator] ?? operator, right, left);
  if (operator.startsWith('IS')) throw new Uncertain();
  const [exact, double] = [left.sql, right.sql];
  return condition(
    `(CASE WHEN (${exact}) IS NULL THEN NULL WHEN abs(${double}) < 9007199254740992 THEN (${exact})::double precision ${operator} ${double} ` +
      `WHEN abs(${double}) < 9223372036854775808 THEN (${exact})::numeric ${operator} (${double})::bigint ` +
      `ELSE 0 ${operator} ${double} END)`,
  );
}

export function literalOf(token: Token): Literal | null {
  if (token.kind === 'number') return { kind: 'number', text: token.text };
  if (token.kind === 'string') return { kind: 'string', value: token.value };
  if (token.kind === 'blob') return { kind: 'blob', hex: token.text.slice(2, -1) };
  if (isKeyword(token, 'NULL')) return { kind: 'null' };
  if (isKeyword(token, 'TRUE', 'FALSE')) return { kind: 'boolean', value: isKeyword(token, 'TRUE') };
  return null;
}

/** A literal as the kind that it is compared with; SQLite compares without converting only then. */
export function literalSql(constant: Literal, kind: ColumnKind, operator: string): string {
  if (kind === 'boolean') {
    if (operator === '<' || operator === '>' || operator === '<=' || operator === '>=') throw new Uncertain();
    if (constant.kind === 'boolean') return String(constant.value);
    if (constant.kind === 'number' && ['0', '1'].includes(constant.text))
      return constant.text === '1' ? 'true' : 'false';
    throw new Uncertain();
  }
  if (isNumber(kind)) {
    if (constant.kind === 'boolean') return constant.value ? '1' : '0';
    if (constant.kind === 'number') return numberSql(constant.text, kind);
    throw new Uncertain();
  }
  if (constant.kind === 'string' && kind === 'text') return literal(constant.value);
  if (constant.kind === 'string' && kind === 'uuid' && UUID.test(constant.value)) {
    return `uuid ${literal(constant.value)}`;
  }
  if (constant.kind === 'string' && isMomentKind(kind) && isMomentText(kind, constant.value)) {
    return `${momentType(kind)} ${literal(constant.value)}`;
  }
  if (constant.kind === 'string' && kind === 'date' && isDateText(constant.value)) {
    return `date ${literal(constant.value)}`;
  }
  if (constant.kind === 'blob' && kind === 'bytea') return `'\\x${constant.hex}'::bytea`;
  throw new Uncertain();
}

/** Up to 15 digits, which mean the same as a double and as a decimal, or an integer of 64 bits beside integers. */
function numberSql(text: string, kind: ColumnKind): string {
  const whole = wholeNumber(text);
  if (whole !== null) {
    const limit = kind === 'double' ? 10n ** 15n : 2n ** 63n;
    if (whole >= -limit && whole < limit) return whole < 0n ? `(${whole})` : String(whole);
  } else {
    const plain = decimal(text);
    if (plain !== null) return plain.startsWith('-') ? `(${plain})` : plain;
  }
  throw new Uncertain();
}

/** The value of an integer literal, null for any other number. */
function wholeNumber(text: string): bigint | null {
  const plain = text.replaceAll('_', '');
  return /^-?\d+$/.test(plain) ? BigInt(plain) : null;
}

/** The digits of a number that is finite and has at most 15 of them. */
function decimal(text: string): string | null {
  const plain = text.replaceAll('_', '');
  if (!/^-?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?$/.test(plain)) return null;
  const digits = plain
    .replace(/[eE].*$/, '')
    .replace(/[-.]/g, '')
    .replace(/^0+/, '');
  return digits.length <= 15 && Number.isFinite(Number(plain)) ? plain : null;
}

/**
 * A node as the value that SQLite computes with or stores: a truth value is the integer 0 or 1, and a literal has the
 * class that it is written in.
 */
export function asValue(node: Node): ValueNode {
  if (node.type === 'condition') return value('boolean', node.sql);
  if (node.type === 'value') return node;
  const constant = node.literal;
  switch (constant.kind) {
    case 'null':
      throw new Uncertain();
    case 'boolean':
      return value('boolean', String(constant.value));
    case 'string':
      return madeText(`${literal(constant.value)}::text`);
    case 'blob':
      return value('bytea', literalSql(constant, 'bytea', '='));
    case 'number': {
      const whole = wholeNumber(constant.text);
      if (whole !== null) {
        return value('bigint', `${numberSql(constant.text, 'bigint')}::bigint`, { least: whole });
      }
      const plain = decimal(constant.text);
      const size = Math.abs(Number(plain));
      // Beyond these the library that parsed the literal may have been off by an ulp.
      if (plain === null || (size !== 0 && (size < 1e-22 || size > 1e22))) throw new Uncertain();
      return value('double', `'${plain}'::double precision`, { real: true });
    }
  }
}

/** As `asValue`, with truth values as integers. */
export function asNumber(node: Node): ValueNode {
  const found = asValue(node);
  if (found.kind === 'boolean') return value('bigint', `(${found.sql})::int::bigint`, { least: 0n });
  if (!isNumber(found.kind)) throw new Uncertain();
  return found;
}

export function asDouble(node: ValueNode): string {
  return node.kind === 'double' ? node.sql : `(${node.sql})::double precision`;
}

/** A text; an integer as its digits, a date as SQLite writes it. */
export function asText(node: Node): ValueNode {
  if (node.type === 'literal' && node.literal.kind === 'string')
    return value('text', literalSql(node.literal, 'text', '='));
  const found = asValue(node);
  if (isMomentKind(found.kind)) return madeText(momentTextSql(found.kind, found.sql));
  switch (found.kind) {
    case 'text':
      return found;
    case 'bigint':
      return madeText(`(${found.sql})::text`);
    case 'boolean':
      return madeText(`(${found.sql})::int::text`);
    case 'date':
      return madeText(dayText(found.sql));
    default:
      throw new Uncertain();
  }
}

/** A value per branch, and NULL, brought to one kind. @returns the kind's node without SQL, and each branch's SQL */
export function unified(nodes: Node[]): { like: Omit<ValueNode, 'sql'>; sql: string[] } {
  const values = nodes.filter((node): node is ValueNode => node.type === 'value');
  const known = nodes.filter((node) => !isNullLiteral(node));
  if (known.length === 0) throw new Uncertain();
  const as = (like: Partial<ValueNode> & { kind: ColumnKind }, branch: (node: Node) => string) => ({
    like: { type: 'value' as const, binary: true, ...like },
    sql: nodes.map((node) => (isNullLiteral(node) ? 'NULL' : branch(node))),
  });
  const first = values[0];
  if (values.some((node) => !node.binary)) throw new Uncertain();
  if (first !== undefined && !isNumber(first.kind) && first.kind !== 'boolean') {
    if (isOpaque(first.kind) || values.length < valuesOf(known).length) throw new Uncertain();
    return as({ kind: first.kind }, (node) => {
      if (node.type === 'literal') return literalSql(node.literal, first.kind, '=');
      if (node.type === 'value' && node.kind === first.kind) return node.sql;
      throw new Uncertain();
    });
  }
  const forms = known.map(asValue);
  const kinds = new Set(forms.map((form) => form.kind));
  if (kinds.size === 1 && (kinds.has('boolean') || kinds.has('text') || kinds.has('bytea'))) {
    return as({ kind: forms[0]!.kind }, (node) => asValue(node).sql);
  }
  return as(...numbers(nodes, known.map(asNumber)));
}

function valuesOf(nodes: Node[]): Node[] {
  return nodes.filter((node) => node.type !== 'literal');
}

function isNullLiteral(node: Node): boolean {
  return node.type === 'literal' && node.literal.kind === 'null';
}

type Branches = [Partial<ValueNode> & { kind: ColumnKind }, (node: Node) => string];

/** Numbers of several branches: integers stay integers, and a literal beside a column takes the column's type. */
function numbers(nodes: Node[], forms: ValueNode[]): Branches {
  const columns = new Set(nodes.flatMap((node) => (node.type === 'literal' ? [] : [asNumber(node).kind])));
  // A column's integers may be beyond 2^53, so only a literal may become a double.
  if (columns.size > 1) throw new Uncertain();
  const branch =
    (kind: ColumnKind) =>
    (node: Node): string => {
      if (node.type === 'literal' && columns.size > 0) return literalSql(node.literal, kind, '=');
      const form = asNumber(node);
      return kind === 'double' ? asDouble(form) : form.sql;
    };
  if (forms.every((form) => form.kind === 'bigint')) {
    const least = forms.map((form) => form.least).reduce((a, b) => lesser(a, b));
    return [{ kind: 'bigint', ...(least === undefined ? {} : { least }) }, branch('bigint')];
  }
  if (columns.has('bigint')) throw new Uncertain();
  if (columns.has('numeric')) return [{ kind: 'numeric' }, branch('numeric')];
  return [{ kind: 'double', real: forms.every((form) => form.real === true) }, branch('double')];
}

function lesser(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  return a === undefined || b === undefined ? undefined : a < b ? a : b;
}
