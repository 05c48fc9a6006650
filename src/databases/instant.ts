/**
 * Moments that the source keeps as whole milliseconds since 1970 and the target as `timestamptz(3)`: as PostgreSQL writes
 * them in ISO style, and back.
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
  /^(\d{4,5})-(\d\d)-(\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,3})(\d{0,3}))?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?( BC)?$/;

/**
 * Of a moment with its zone that PostgreSQL wrote in ISO style: milliseconds, and the digits of microseconds after them.
 * Null outside the years 0001 to 9999.
 */
export function parsedInstant(text: string): { ms: number; beyond: string } | null {
  const parts = WRITTEN.exec(text);
  if (parts === null) return null;
  const [
    ,
    year,
    month,
    day,
    time,
    fraction = '',
    beyond = '',
    sign,
    hours,
    minutes = '0',
    seconds = '0',
    bc,
  ] = parts;
  // A time zone may write the first and last hours of these years as the year before and after.
  const local = new Date(`1970-01-01T${time}.${fraction.padEnd(3, '0')}Z`);
  local.setUTCFullYear(bc === undefined ? Number(year) : 1 - Number(year), Number(month) - 1, Number(day));
  const offset = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000;
  const ms = sign === '+' ? local.getTime() - offset : local.getTime() + offset;
  return ms >= FIRST_INSTANT && ms <= LAST_INSTANT ? { ms, beyond } : null;
}

/**
 * Of a timestamptz(3) that PostgreSQL wrote in ISO style, in whatever time zone; null for what stands for no milliseconds
 * of the source (infinity, years before 1 or after 9999), which the target's CHECK keeps out until the way back ends.
 */
export function instantMs(text: string): bigint | null {
  const instant = parsedInstant(text);
  return instant === null || instant.beyond !== '' ? null : BigInt(instant.ms);
}
