/** The text form of days that PostgreSQL gives back identically. */

/** YYYY-MM-DD, a date that exists, in the years 0001 to 9999. */
export function isDateText(text: string): boolean {
  return /^\d{4}-\d\d-\d\d$/.test(text) && exists(`${text}T00:00:00.000Z`);
}

/** A date that does not exist comes back as another one, or not at all. */
function exists(iso: string): boolean {
  const at = Date.parse(iso);
  return !iso.startsWith('0000') && !Number.isNaN(at) && new Date(at).toISOString() === iso;
}
