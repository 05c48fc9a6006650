/**
 * Arithmetic that both databases do alike. SQLite computes with integers where both operands are integers and with
 * doubles otherwise, makes NULL of a division by zero and of NaN, and goes on with doubles where an integer overflows.
 * PostgreSQL fails on an overflow: such a row is refused, never changed.
 */
import { asDouble, asNumber, Uncertain, value, type Node, type ValueNode } from './expression-nodes.ts';

export function arithmetic(operator: string, leftNode: Node, rightNode: Node): Node {
  const [left, right] = [asNumber(leftNode), asNumber(rightNode)];
  if (left.kind === 'bigint' && right.kind === 'bigint') return integers(operator, left, right);
  if (operator === '%') throw new Uncertain();
  if (left.real === true || right.real === true)
    return value('double', reals(operator, left, right), { real: true });
  return either(operator, left, right);
}

/** SQLite subtracts from 0, so that the result of 0.0 is not negative. */
export function negated(node: Node): Node {
  return arithmetic('-', { type: 'literal', literal: { kind: 'number', text: '0' } }, node);
}

function integers(operator: string, left: ValueNode, right: ValueNode): Node {
  if (operator === '/' || operator === '%') {
    // The remainder has the sign of the left side.
    const positive = operator === '%' && left.least !== undefined && left.least >= 0n;
    return value(
      'bigint',
      `(${left.sql} ${operator} nullif(${right.sql}, 0))`,
      positive ? { least: 0n } : {},
    );
  }
  const least = leastOf(operator, left, right);
  return value('bigint', `(${left.sql} ${operator} ${right.sql})`, least === null ? {} : { least });
}

/** Known for sums, and where a literal is taken away. */
function leastOf(operator: string, left: ValueNode, right: ValueNode): bigint | null {
  if (left.least === undefined || right.least === undefined) return null;
  if (operator === '+') return left.least + right.least;
  return operator === '-' && /^\(?-?\d+\)?::bigint$/.test(right.sql) ? left.least - right.least : null;
}

function reals(operator: string, left: ValueNode, right: ValueNode): string {
  const divisor = asDouble(right);
  const by = operator === '/' ? `nullif(${divisor}, 0)` : divisor;
  return `nullif(${asDouble(left)} ${operator} ${by}, 'NaN')`;
}

/**
 * Where each operand is an integer or a real by its value: exact integers while SQLite's do not overflow. The result is
 * a double, whatever its class in SQLite; whoever stores it must keep out integers that a double does not hold.
 */
function either(operator: string, left: ValueNode, right: ValueNode): Node {
  if (operator === '/' || left.kind === 'double' || right.kind === 'double') throw new Uncertain();
  const exact = `(${asNumeric(left)} ${operator} ${asNumeric(right)})`;
  const whole = [left, right]
    .filter(({ kind }) => kind === 'numeric')
    .map(({ sql }) => `${sql} = trunc(${sql})`);
  const sql =
    `CASE WHEN ${[...whole, `abs(${exact}) < 9223372036854775808`].join(' AND ')} ` +
    `THEN ${exact}::double precision ELSE ${reals(operator, left, right)} END`;
  return value('double', `(${sql})`, { real: false });
}

function asNumeric(node: ValueNode): string {
  return node.kind === 'numeric' ? node.sql : `(${node.sql})::numeric`;
}

/** & and | of integers. */
export function bits(operator: string, leftNode: Node, rightNode: Node): Node {
  const [left, right] = [asNumber(leftNode), asNumber(rightNode)];
  if (left.kind !== 'bigint' || right.kind !== 'bigint') throw new Uncertain();
  return value('bigint', `(${left.sql} ${operator} ${right.sql})`);
}
