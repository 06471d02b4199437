/**
 * Windows: which stored values are shown from black to white.
 *
 * A radiograph has no Hounsfield units, so the presets are parts of the image's own default
 * window, from dark (air) to bright (bone), whichever way round the values are stored.
 */

/** VOI LUT Function (0028,1056): what a window's centre and width mean. */
export type VoiFunction = 'LINEAR' | 'LINEAR_EXACT' | 'SIGMOID';

/** Values shown as the two ends of the grey scale; for SIGMOID, half a width from the centre. */
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

/** What a window of a job's own goes by, beside the names of the shipped ones. */
export function called(centre: number, width: number): string {
  return `${centre} ${width}`;
}

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

/** Window centre and width as the function means them (PS3.3 C.11.2.1.2 and C.11.2.1.3). */
export function toCentreWidth({ lower, upper }: Range, voiFunction: VoiFunction): [number, number] {
  const extra = EXTRA[voiFunction];
  return [round((lower + upper + extra) / 2), round(upper - lower + extra)];
}

export function fromCentreWidth(centre: number, width: number, voiFunction: VoiFunction): Range {
  const extra = EXTRA[voiFunction];
  const half = (width - extra) / 2;
  return { lower: centre - extra / 2 - half, upper: centre - extra / 2 + half };
}

/** Shift by `shift`, stretch by `wider` (both in stored values); never narrower than `least`. */
export function adjust(range: Range, wider: number, shift: number, least = 1): Range {
  const centre = (range.lower + range.upper) / 2 + shift;
  const half = Math.max(range.upper - range.lower + wider, least) / 2;
  return { lower: centre - half, upper: centre + half };
}

/** LINEAR counts whole values: a width of 1 has no slope, and lies half a value lower. */
const EXTRA: Readonly<Record<VoiFunction, number>> = { LINEAR: 1, LINEAR_EXACT: 0, SIGMOID: 0 };

const round = (value: number): number => Math.round(value * 100) / 100;
