/** Aggregate functions that both databases compute alike. */
import {
  asDouble,
  asNumber,
  asText,
  asValue,
  isNumber,
  isOpaque,
  Uncertain,
  value,
  type Node,
  type ValueNode,
} from './expression-nodes.ts';

export interface AggregateCall {
  /** Lower case. */
  name: string;
  args: Node[];
  distinct: boolean;
  /** SQL of ORDER BY between the parentheses, '' for none. */
  order: string;
  /** SQL of FILTER, '' for none. */
  filter: string;
}

export interface Aggregate {
  node: ValueNode;
  /** Adds reals up: the last digits depend on the order of the rows, on either database. */
  approximate: boolean;
}

/** Is this call one of an aggregate? min and max of several values are not. */
export function isAggregate(name: string, args: number): boolean {
  if (name === 'min' || name === 'max') return args === 1;
  return ['count', 'sum', 'total', 'avg', 'group_concat', 'string_agg'].includes(name);
}

/** @throws Uncertain */
export function aggregated(call: AggregateCall): Aggregate {
  const { name, args } = call;
  const exact = (node: ValueNode): Aggregate => ({ node, approximate: false });
  const over = (fn: string, arg: string): string =>
    `${fn}(${call.distinct ? 'DISTINCT ' : ''}${arg}${call.order})${call.filter}`;
  if (name === 'count' && args.length === 0) return exact(value('bigint', over('count', '*'), { least: 0n }));
  if (name === 'group_concat' || name === 'string_agg') return exact(value('text', joined(call, over)));
  if (args.length !== 1) throw new Uncertain();
  const only = asValue(args[0]!);
  if (call.distinct) requireComparable(only);
  if (name === 'count') return exact(value('bigint', over('count', only.sql), { least: 0n }));
  if (name === 'min' || name === 'max') return exact(extreme(name, only, over));
  const number = asNumber(only);
  const whole = number.kind === 'bigint';
  if (name === 'sum' && whole) return exact(value('bigint', `${over('sum', number.sql)}::bigint`));
  // Decimals are added up exactly and rounded once, which is nearest to what SQLite's compensated addition gives.
  const sum = `(${over('sum', number.kind === 'numeric' ? number.sql : asDouble(number))})::double precision`;
  const real = { real: name !== 'sum' || number.real === true };
  if (name === 'sum') return { node: value('double', `(${sum})`, real), approximate: true };
  if (name === 'total') return { node: value('double', `coalesce(${sum}, 0)`, real), approximate: !whole };
  const count = over('count', number.sql);
  const exactSum = whole ? `(${over('sum', number.sql)})::double precision` : sum;
  return { node: value('double', `(${exactSum} / nullif(${count}, 0))`, real), approximate: !whole };
}

/** What DISTINCT, GROUP BY and UNION may compare. @throws Uncertain */
export function requireComparable(node: ValueNode): void {
  if (!node.binary || isOpaque(node.kind)) {
    throw new Uncertain(`it compares values of ${node.sql} in another way than PostgreSQL`);
  }
}

function extreme(name: string, node: ValueNode, over: (fn: string, arg: string) => string): ValueNode {
  if (node.kind === 'boolean') return value('bigint', over(name, asNumber(node).sql));
  requireComparable(node);
  if (node.kind === 'bytea') throw new Uncertain();
  const { affinity: _, ...kept } = node;
  return { ...kept, sql: over(name, node.sql) };
}

/** SQLite leaves the order open where the call does not say it. */
function joined(call: AggregateCall, over: (fn: string, arg: string) => string): string {
  if (call.order === '' || call.distinct) throw new Uncertain('the order in group_concat is not certain');
  const [text, separator] = call.args;
  if (text === undefined || call.args.length > 2 || (text.type === 'value' && isNumber(text.kind))) {
    throw new Uncertain();
  }
  const between = separator === undefined ? "','" : asText(separator).sql;
  return over('string_agg', `${asText(text).sql}, ${between}`);
}
