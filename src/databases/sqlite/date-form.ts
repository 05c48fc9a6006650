/** The form in which a date is written, for a person to read. */

export const CANONICAL_DATE = 'YYYY-MM-DD';

const ISO = /^\d{4}-\d\d-\d\d(?:([T ])\d\d:\d\d(:\d\d)?([.,]\d+)?( ?)(Z|[+-]\d\d(:?)\d\d|[+-]\d\d)?)?$/;

/** `YYYY-MM-DDTHH:MM:SS.SSSZ`; where it is none of these, digits as 9 and letters as a, as in `99/99/9999`. */
export function dateForm(text: string): string {
  const parts = ISO.exec(text);
  if (parts === null) {
    const shape = text
      .slice(0, 30)
      .replaceAll(/\d/g, '9')
      .replaceAll(/\p{L}/gu, 'a')
      .replaceAll(/\p{Cc}/gu, '?');
    return text.length > 30 ? `${shape}…` : shape;
  }
  const [, separator, seconds, fraction, space = '', zone, colon = ''] = parts;
  if (separator === undefined) return CANONICAL_DATE;
  const other = zone?.length === 3 ? '±HH' : `±HH${colon}MM`;
  const offset = zone === undefined ? '' : zone === 'Z' || zone === '+00:00' ? zone : other;
  const digits = fraction === undefined ? '' : fraction[0]! + 'S'.repeat(fraction.length - 1);
  return `${CANONICAL_DATE}${separator}HH:MM${seconds === undefined ? '' : ':SS'}${digits}${space}${offset}`;
}
