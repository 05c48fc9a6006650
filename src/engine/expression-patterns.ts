/** LIKE and GLOB by a pattern that is written out. */
import { asciiLower, literal } from '../databases/identifiers.ts';
import { Uncertain } from './expression-nodes.ts';

/** SQLite's LIKE takes ASCII letters of either case for the same, and has no escape of its own. @param text SQL */
export function like(text: string, pattern: string, escape = ''): string {
  if (escape !== '' && (escape.length !== 1 || /[A-Za-z%_]/.test(escape))) throw new Uncertain();
  // PostgreSQL fails where the escape ends the pattern; SQLite finds nothing then.
  if (escape !== '' && pattern.endsWith(escape)) throw new Uncertain();
  return `(lower(${text}) LIKE ${literal(asciiLower(pattern))} ESCAPE ${literal(escape)})`;
}

/** GLOB tells case apart. @param text SQL */
export function glob(text: string, pattern: string): string {
  const parts = pattern.match(/\[\^?\]?[^\]]*\]|[^]/g) ?? [];
  if (parts.every((part) => !part.startsWith('['))) {
    const plain = parts.map((part) =>
      part === '*' ? '%' : part === '?' ? '_' : /[%_\\]/.test(part) ? `\\${part}` : part,
    );
    return `(${text} LIKE ${literal(plain.join(''))} ESCAPE '\\')`;
  }
  return `(${text} ~ ${literal(`^${parts.map(asRegex).join('')}$`)})`;
}

/** The syntax of https://www.postgresql.org/docs/current/functions-matching.html#POSIX-SYNTAX-DETAILS */
function asRegex(part: string): string {
  if (part === '*') return '.*';
  if (part === '?') return '.';
  if (part === '[') throw new Uncertain();
  if (!part.startsWith('[')) return /[A-Za-z0-9_\s]|[^\0-\x7f]/.test(part) ? part : `\\${part}`;
  const inside = part.slice(1, -1);
  // Classes and escapes within the brackets are PostgreSQL's alone.
  if (inside.includes('[') || inside === '' || inside === '^') throw new Uncertain();
  return `[${inside.replaceAll('\\', '\\\\')}]`;
}
