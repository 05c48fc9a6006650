/** What the sides of a copy share: a database of their own, a server at rest, and the check of what came in. */
import { messageOf } from '../../src/errors.ts';
import type { Bench, Source } from '../bench.ts';
import { countRows, fingerprint, requireSums, sourceSums, type Fingerprint, type Sums } from '../checksum.ts';
import type { Run } from '../interleave.ts';
import { settle } from '../target.ts';

export interface Load {
  ms: number;
  peakRss?: number;
  /** Size of all rows as COPY text, where the side knows it. */
  bytes?: number;
}

export class CopyWork {
  readonly bench: Bench;
  readonly source: Source;
  /** Sides whose doubles are not the source's, to the last bit. */
  readonly inexact = new Set<string>();
  /** False where the role may not let the server settle before a run. */
  settled = true;
  #expected: Sums | undefined;
  #reference: Fingerprint | undefined;
  #bytes: number | undefined;

  constructor(bench: Bench, source: Source) {
    this.bench = bench;
    this.source = source;
  }

  /**
   * One run of a side on an empty database.
   * @param load brings the rows in; tells how long that took
   * @param compared `rows`: only their number, of a side that makes tables of its own, with other types
   * @throws Error where counts or checksums are not the source's
   */
  measure(
    side: string,
    prepare: (url: string) => Promise<void>,
    load: (url: string) => Promise<Load>,
    compared: 'values' | 'rows' = 'values',
  ): Promise<Run> {
    return this.bench.withDatabase(async (url) => {
      await prepare(url);
      this.settled = (await settle(url)) && this.settled;
      const { ms, peakRss, bytes } = await load(url);
      this.#bytes ??= bytes;
      return {
        ms,
        units: this.source.rows,
        ...(await this.#compare(side, url, compared)),
        ...(this.#bytes === undefined ? {} : { bytes: this.#bytes }),
        ...(peakRss === undefined ? {} : { peakRss }),
      };
    });
  }

  async #compare(side: string, url: string, compared: 'values' | 'rows'): Promise<{ result?: string }> {
    if (compared === 'values') return { result: await this.#check(side, url) };
    const { rows, plan } = this.source;
    const found = await countRows(url, plan);
    if (found === rows) return {};
    throw new Error(`"${side}" brought ${found} of ${rows} rows, so there is no ratio`);
  }

  async #check(side: string, url: string): Promise<string> {
    const { path, plan } = this.source;
    const found = await fingerprint(url, plan);
    const exact = found.doubles === this.#reference?.doubles;
    // The first run is checked against the source, later ones against it, hash by hash.
    if (!exact) {
      this.#expected ??= sourceSums(path, plan);
      await requireSums(this.#expected, url, plan).catch((error: unknown) => {
        throw new Error(`"${side}" did other work, so there is no ratio: ${messageOf(error)}`, {
          cause: error,
        });
      });
    }
    if (this.#reference === undefined) this.#reference = found;
    else if (!exact) this.inexact.add(side);
    return found.text;
  }
}
