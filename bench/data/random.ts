/** Reproducible pseudo-random values (mulberry32), cheap enough for millions of rows. */

const WORDS = (
  'river stone window the a of and to in harbour signal paper quiet engine north copper letter garden "quoted" ' +
  'comma, back\\slash tab\there line\nbreak ünïcödé 漢字 🎉 naïve café'
).split(' ');

/** Dates are made once: formatting one for every row would take as long as inserting it. */
const DAYS = Array.from({ length: 11_688 }, (_, day) =>
  new Date(Date.UTC(2000, 0, 1 + day)).toISOString().slice(0, 10),
);
const TWO = Array.from({ length: 60 }, (_, n) => String(n).padStart(2, '0'));

/** Halves of a surrogate pair at the edges of a cut. */
const HALVES = /^[\udc00-\udfff]|[\ud800-\udbff]$/g;

export class Random {
  #state: number;
  /** Text of 64 KiB, from which texts are cut: joining words for every row would take most of the time. */
  readonly #text: string;

  constructor(seed: number) {
    this.#state = seed >>> 0;
    const words: string[] = [];
    for (let length = 0; length < 65_536;) {
      const word = this.pick(WORDS);
      words.push(word);
      length += word.length + 1;
    }
    this.#text = words.join(' ');
  }

  /** In [0, 1), 32 bits. */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A double whose shortest decimal has up to 17 digits. */
  double(): number {
    return (this.fraction() + this.fraction() / 2 ** 32) * 10 ** this.below(6);
  }

  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** Text of `length` UTF-16 units at most; well-formed. */
  text(length: number): string {
    const from = this.below(this.#text.length - length);
    const text = this.#text.slice(from, from + length);
    return isHalf(text.charCodeAt(0)) || isHalf(text.charCodeAt(text.length - 1))
      ? text.replace(HALVES, '')
      : text;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i++) bytes[i] = this.below(256);
    return bytes;
  }

  /** YYYY-MM-DD HH:MM:SS in the years from 2000 to 2031. */
  datetime(): string {
    const bits = Math.floor(this.fraction() * 2 ** 32);
    return (
      `${DAYS[bits % DAYS.length]!} ${TWO[(bits >>> 14) % 24]!}:${TWO[(bits >>> 19) % 60]!}:` +
      `${TWO[(bits >>> 25) % 60]!}`
    );
  }
}

function isHalf(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}
