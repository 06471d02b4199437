/**
 * Reading JSON that somebody else wrote: what has another shape than expected counts as not given.
 */

export type Given = Readonly<Record<string, unknown>>;

export function isRecord(value: unknown): value is Given {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function record(value: unknown): Given {
  return isRecord(value) ? value : {};
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** An address of this site's own, or nothing: `//host` and `/\host` lead to others, a tab in it or not. */
export function path(value: unknown): string {
  return /^\/(?![/\\])\P{Cc}*$/u.test(text(value)) ? text(value) : '';
}

/** Distinct texts, in their order. */
export function strings(value: unknown): string[] {
  return Array.isArray(value) ? [...new Set(value.filter((v) => typeof v === 'string'))] : [];
}

export function finite(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** The items of a list that can be read; `read` gives null for those that cannot. */
export function items<T>(value: unknown, read: (item: Given) => T | null): T[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isRecord).flatMap((item) => read(item) ?? []);
}

/** Name to text, without a prototype: a name may be "constructor". */
export function texts(value: unknown): Readonly<Record<string, string>> {
  const pairs = Object.entries(record(value)).filter(([, v]) => typeof v === 'string');
  return Object.assign(Object.create(null), Object.fromEntries(pairs));
}
