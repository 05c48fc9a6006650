/**
 * Moments that the source keeps as whole milliseconds since 1970 and the target as `timestamptz(3)`: as PostgreSQL
 * writes them in ISO style, and back.
 */

/** The years 0001 to 9999, which both databases write alike. */
export const FIRST_INSTANT = -62135596800000n;
export const LAST_INSTANT = 253402300799999n;

/** As PostgreSQL writes it in UTC: no zeros at the end of a fraction. Null outside the years 0001 to 9999. */
export function instantText(ms: bigint): string | null {
  if (ms < FIRST_INSTANT || ms > LAST_INSTANT) return null;
  const [day, time] = new Date(Number(ms)).toISOString().slice(0, -1).split('T');
  // A fraction has three digits, so these are never zeros of the seconds.
  return `${day} ${time!.replace(/0{1,3}$/, '').replace(/\.$/, '')}+00`;
}

/** The same text, as SQL of SQLite over a column that holds an integer in these years. */
export function instantSql(name: string): string {
  return `rtrim(rtrim(strftime('%Y-%m-%d %H:%M:%f', ${name} / 1000.0, 'unixepoch'), '0'), '.') || '+00'`;
}

const WRITTEN =
  /^(\d{4})-(\d\d)-(\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,3}))?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?$/;

/**
 * Of a timestamptz(3) that PostgreSQL wrote in ISO style, in whatever time zone; null for what stands for no milliseconds
 * of the source (infinity, years before 1 or after 9999), which the target's CHECK keeps out until the way back ends.
 */
export function instantMs(text: string): bigint | null {
  const parts = WRITTEN.exec(text);
  if (parts === null) return null;
  const [, year, month, day, time, fraction = '', sign, hours, minutes = '0', seconds = '0'] = parts;
  const local = Date.parse(`${year}-${month}-${day}T${time}.${fraction.padEnd(3, '0')}Z`);
  const offset = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000;
  return BigInt(sign === '+' ? local - offset : local + offset);
}
