/** Text of the demo: several scripts, emoji, and every character that an export by hand gets wrong. */
import type { Random } from './random.ts';

const GIVEN = [
  'Ada',
  'Zoë',
  'José',
  'Søren',
  'Nguyễn',
  'Мария',
  '王芳',
  'さくら',
  'محمد',
  'रवि',
  '지훈',
  'Ελένη',
  'שרה',
  'Ọláwálé',
];
const FAMILY = [
  'Lovelace',
  "O'Brien",
  'Müller',
  'García',
  'Łukasz',
  'Иванова',
  '李',
  '田中',
  'الأحمد',
  'शर्मा',
  '김',
  'van der Berg',
];
const WORDS = (
  'viral launch story creator brand audience reach trend spark campaign remix editorial behind the scenes ' +
  'growth habit colour music travel kitchen repair garden night city winter quiet honest bold'
).split(' ');

/** Tabs, newlines, quotes, backslashes, COPY's own escapes, SQL's, and characters outside the basic plane. */
const AWKWARD = [
  'she said "it\'s fine"',
  'C:\\media\\new\\table',
  'a\tb\tc',
  'first line\nsecond line\r\nthird',
  '\\N',
  '\\.',
  '🚀🔥 100 %',
  '👩‍👩‍👧‍👦 family',
  "'; DROP TABLE users; --",
  '{"nested": "\\"json\\""}',
  'e\u0301 and \u00e9',
  ' leading and trailing ',
  '\u200bzero width',
  '',
];

export function personName(random: Random): string {
  return `${random.pick(GIVEN)} ${random.pick(FAMILY)}`;
}

/** A few words; about one in twelve is awkward on purpose. */
export function sentence(random: Random, words: number): string {
  let text = random.pick(WORDS);
  for (let i = 1; i < words; i++) text += ' ' + random.pick(WORDS);
  return random.below(12) === 0 ? `${text} ${random.pick(AWKWARD)}` : text;
}
