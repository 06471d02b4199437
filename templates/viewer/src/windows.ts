/**
 * Windows: which stored values are shown from black to white.
 *
 * A radiograph has no Hounsfield units, so the presets are parts of the image's own default
 * window, from dark (air) to bright (bone), whichever way round the values are stored.
 */

/** Values shown as the two ends of the grey scale, lower < upper. */
export interface Range {
  readonly lower: number;
  readonly upper: number;
}

export type Preset = 'default' | 'lung' | 'bone' | 'mediastinum' | 'full';

export const PRESETS: readonly { readonly name: Preset; readonly text: string }[] = [
  { name: 'default', text: 'Default' },
  { name: 'lung', text: 'Lung' },
  { name: 'bone', text: 'Bone' },
  { name: 'mediastinum', text: 'Mediastinum' },
  { name: 'full', text: 'Full range' },
];

/** Part of the default window, 0 dark to 1 bright. */
const PARTS: Readonly<Record<Exclude<Preset, 'default' | 'full'>, readonly [number, number]>> = {
  lung: [0, 0.7],
  bone: [0.15, 0.85],
  mediastinum: [0.4, 1],
};

/**
 * Args: inverted: larger values are darker (MONOCHROME1); full: all that is in the image.
 */
export function preset(name: Preset, base: Range, full: Range, inverted: boolean): Range {
  if (name === 'default') return base;
  if (name === 'full') return full;
  const [dark, bright] = PARTS[name];
  const width = base.upper - base.lower;
  return inverted
    ? { lower: base.upper - bright * width, upper: base.upper - dark * width }
    : { lower: base.lower + dark * width, upper: base.lower + bright * width };
}

/** Window centre and width as DICOM's LINEAR function means them (PS3.3 C.11.2.1.2.1). */
export function toCentreWidth(range: Range): [number, number] {
  return [
    round((range.lower + range.upper + 1) / 2),
    round(Math.abs(range.upper - range.lower) + 1),
  ];
}

export function fromCentreWidth(centre: number, width: number): Range {
  const half = (Math.max(width, 2) - 1) / 2;
  return { lower: centre - 0.5 - half, upper: centre - 0.5 + half };
}

/** Shift by `brighter`, stretch by `wider` (both in stored values); never narrower than 1. */
export function adjust(range: Range, wider: number, shift: number): Range {
  const centre = (range.lower + range.upper) / 2 + shift;
  const half = Math.max(range.upper - range.lower + wider, 1) / 2;
  return { lower: centre - half, upper: centre + half };
}

/** The values between the 0.5th and the 99.5th percentile, for files that name no window. */
export function percentiles(values: ArrayLike<number>, low = 0.005, high = 0.995): Range {
  const step = Math.max(1, Math.floor(values.length / 200_000));
  const sample: number[] = [];
  for (let i = 0; i < values.length; i += step) sample.push(values[i]!);
  sample.sort((a, b) => a - b);
  const at = (q: number): number => sample[Math.round(q * (sample.length - 1))] ?? 0;
  const range = { lower: at(low), upper: at(high) };
  return range.upper > range.lower ? range : { lower: range.lower, upper: range.lower + 1 };
}

const round = (value: number): number => Math.round(value * 100) / 100;
