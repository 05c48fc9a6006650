/** How a generated column can hold the value of its expression, given what its affinity makes of it in SQLite. */
import type { ColumnKind } from '../contract.ts';
import { isMomentKind } from '../databases/moment.ts';
import type { Affinity } from '../databases/sqlite/affinity.ts';
import {
  asDouble,
  asNumber,
  asText,
  asValue,
  Uncertain,
  type Node,
  type ValueNode,
} from './expression-nodes.ts';

export interface Form {
  kind: ColumnKind;
  sql: string;
  /** Condition on the value, which PostgreSQL must check: without it the form could differ. */
  check?: (column: string) => string;
}

/** @throws Uncertain where there is none */
export function formsOf(node: Node, affinity: Affinity): Form[] {
  const forms = formsOfValue(asValue(node), affinity);
  if (forms.length === 0) throw new Uncertain();
  return forms;
}

function formsOfValue(node: ValueNode, affinity: Affinity): Form[] {
  if (node.kind === 'date' || isMomentKind(node.kind)) {
    return [
      { kind: node.kind, sql: node.sql },
      { kind: 'text', sql: asText(node).sql },
    ];
  }
  switch (node.kind) {
    case 'boolean':
      return [
        ...(affinity === 'TEXT' ? [] : [{ kind: node.kind, sql: node.sql }]),
        ...integerForms(node, affinity),
      ];
    case 'bigint':
    case 'integer':
      return integerForms(node, affinity);
    case 'double':
      return doubleForms(node, affinity);
    case 'numeric':
      if (affinity === 'REAL') return [{ kind: 'double', sql: asDouble(node) }];
      return affinity === 'NUMERIC' || affinity === 'INTEGER' ? [{ kind: 'numeric', sql: node.sql }] : [];
    case 'text':
      return textForms(node, affinity);
    case 'bytea':
      return [{ kind: 'bytea', sql: node.sql }];
    case 'instant':
    case 'uuid':
    case 'json':
    case 'jsonb':
    case 'mixed':
      return [];
  }
}

function integerForms(node: ValueNode, affinity: Affinity): Form[] {
  const integer = asNumber(node).sql;
  switch (affinity) {
    case 'TEXT':
      return [{ kind: 'text', sql: asText(node).sql }];
    case 'REAL':
      return [{ kind: 'double', sql: `(${integer})::double precision` }];
    case 'NUMERIC':
      return [
        { kind: 'numeric', sql: `(${integer})::numeric` },
        { kind: 'bigint', sql: integer },
      ];
    case 'INTEGER':
    case 'BLOB':
      return [{ kind: 'bigint', sql: integer }];
  }
}

/** An affinity makes 0.0 of -0.0; what may be an integer must be one that a double holds. */
function doubleForms(node: ValueNode, affinity: Affinity): Form[] {
  if (affinity === 'TEXT') return [];
  if (affinity === 'BLOB') return node.real === true ? [{ kind: 'double', sql: node.sql }] : [];
  const sql = `${node.sql} + 0`;
  if (affinity === 'REAL' || node.real === true) return [{ kind: 'double', sql }];
  return [{ kind: 'double', sql, check: (column) => `abs(${column}) <= 9007199254740992` }];
}

function textForms(node: ValueNode, affinity: Affinity): Form[] {
  if (node.digits !== true || affinity === 'TEXT' || affinity === 'BLOB')
    return [{ kind: 'text', sql: node.sql }];
  const integer = `(${node.sql})::bigint`;
  if (affinity === 'REAL') return [{ kind: 'double', sql: `${integer}::double precision` }];
  return [
    { kind: 'bigint', sql: integer },
    { kind: 'numeric', sql: `${integer}::numeric` },
  ];
}
