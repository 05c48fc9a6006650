/** Values of both databases through JSON. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, name, json: unknown) {
    const held = this[name];
    if (typeof held === 'bigint') return { $bigint: String(held) };
    if (held instanceof Uint8Array) return { $bytes: [...held] };
    if (typeof held === 'number' && (!Number.isFinite(held) || Object.is(held, -0))) {
      return { $number: Object.is(held, -0) ? '-0' : String(held) };
    }
    return json;
  });
}

export function fromJson(text: string): unknown {
  return JSON.parse(text, (_, value: Record<string, unknown> | null) => {
    if (typeof value !== 'object' || value === null) return value;
    if ('$bigint' in value) return BigInt(value['$bigint'] as string);
    if ('$bytes' in value) return Buffer.from(value['$bytes'] as number[]);
    if ('$number' in value) return Number(value['$number']);
    return value;
  });
}
