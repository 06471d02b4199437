/**
 * From pixels to the greys on the screen, as one table: cxr/images/windowing.py said again.
 *
 * Cornerstone3D 5.14's CPU path knows no VOI LUT Function and no padding, and misreads lookup
 * tables; so every table is made here and handed to it ready (see vite.config.mjs). What a reader
 * sees and what a model is trained on must be the same picture: keep the two files together.
 */

import * as windows from './windows.ts';
import type { Preset, Range, VoiFunction } from './windows.ts';

/** A lookup table: its values, the first input it maps, bits per value. */
export interface Lut {
  readonly values: ArrayLike<number>;
  readonly first: number;
  readonly bits: number;
}

/** What a header says of the way from stored values to greys (PS3.3 C.11). */
export interface Chain {
  readonly bits: {
    readonly allocated: number;
    readonly stored: number;
    readonly shift: number;
    readonly signed: boolean;
  };
  /** MONOCHROME1: larger values are darker */
  readonly inverted: boolean;
  /** stored values, both ends included, that lie outside the image */
  readonly padding: readonly [number, number] | null;
  readonly rescale: { readonly slope: number; readonly intercept: number };
  /** wins over `rescale` */
  readonly modalityLut: Lut | null;
  /** wins over `window` */
  readonly voiLut: Lut | null;
  /** the first window's centre and width, if it can be one */
  readonly window: readonly [number, number] | null;
  readonly voiFunction: VoiFunction;
  /** what of this the page could not do, for the reader to know */
  readonly notes: readonly string[];
}

/** Percentiles shown as black and white where the file names no usable window. */
const LOW = 0.005;
const HIGH = 0.995;

/** How often each value is met in an image, as decoded, no rescaling. */
export interface Counts {
  /** the value that `numbers` begins with: the least, or 0 */
  readonly least: number;
  readonly numbers: Float64Array;
}

export class Greys {
  /** the value that `table` begins with */
  readonly least: number;
  readonly #chain: Chain;
  /** after the modality LUT, by pixel value less `#least` */
  readonly #levels: Float64Array;
  readonly #outside: Uint8Array;
  readonly #full: Range;
  readonly #base: Range;
  #range: Range;
  #byLut = false;
  #inverted = false;
  #chosen: string | null = null;

  constructor(chain: Chain, { least: from, numbers }: Counts) {
    const { length } = numbers;
    this.#chain = chain;
    this.least = from;
    this.#levels = new Float64Array(length);
    this.#outside = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      const stored = storedValue(i + from, chain);
      this.#levels[i] = modality(stored, chain);
      this.#outside[i] = chain.padding && stored >= chain.padding[0] && stored <= chain.padding[1] ? 1 : 0;
    }
    this.#full = bulk(this.#levels, numbers.map((n, i) => (this.#outside[i] ? 0 : n)));
    this.#base = chain.window === null ? this.#full : windows.fromCentreWidth(...chain.window, this.#function);
    this.#range = this.#base;
    this.reset();
  }

  reset(): void {
    this.#inverted = false;
    this.use('default');
  }

  use(name: Preset): void {
    this.#range = windows.preset(name, this.#base, this.#full, this.#chain.inverted);
    this.#chosen = name;
    this.#byLut = name === 'default' && this.#chain.voiLut !== null;
  }

  /** A window in values after the modality LUT, as the file's function means centre and width. */
  useWindow(centre: number, width: number): void {
    this.#range = windows.fromCentreWidth(centre, width, this.#function);
    this.#byLut = false;
    this.#chosen = windows.called(centre, width);
  }

  /** Drag by (right, down) CSS pixels: wider, and darker. Leaves a VOI LUT for a window. */
  drag(right: number, down: number): void {
    const width = this.#base.upper - this.#base.lower;
    const exact = this.#function !== 'LINEAR';
    const step = exact ? width / 512 : Math.max(width / 512, 0.05);
    const darker = this.#chain.inverted ? -down : down;
    const least = exact ? Math.min(1, width / 100) : 1;
    this.#range = windows.adjust(this.#range, right * step, darker * step, least);
    this.#byLut = false;
    this.#chosen = null;
  }

  toggleInvert(): void {
    this.#inverted = !this.#inverted;
  }

  /** Whether the reader inverted what the file means to be seen. */
  get inverted(): boolean {
    return this.#inverted;
  }

  /** Which window is shown, as it was asked for; null once it was dragged to another. */
  get chosen(): string | null {
    return this.#chosen;
  }

  /** Centre and width in the meaning of the file's function; null while a VOI LUT is shown. */
  get window(): [number, number] | null {
    return this.#byLut ? null : windows.toCentreWidth(this.#range, this.#function);
  }

  /** What the greys are, for the readout. */
  says(): string {
    const { window } = this;
    if (window === null) return 'VOI LUT';
    const [centre, width] = window.map((v) => (window[1] < 10 ? v : Math.round(v)));
    return [`W ${width}   L ${centre}`, ...(this.#function === 'LINEAR' ? [] : [this.#function])].join('   ');
  }

  get notes(): readonly string[] {
    return this.#chain.notes;
  }

  /** What a pixel value is as stored, and after the modality LUT. */
  values(pixel: number): { readonly stored: number; readonly value: number } {
    const stored = storedValue(pixel, this.#chain);
    return { stored, value: modality(stored, this.#chain) };
  }

  /** The grey, 0 black to 255, of each pixel value from the least (or 0) up. Padding is black. */
  table(): Uint8ClampedArray {
    const { voiLut, inverted } = this.#chain;
    const shown = voiLut !== null && this.#byLut ? byLut(voiLut) : byWindow(this.#range, this.#function);
    const flip = inverted !== this.#inverted;
    return Uint8ClampedArray.from(this.#levels, (level, i) => {
      if (this.#outside[i]) return 0;
      const grey = Math.min(Math.max(shown(level), 0), 1);
      return 255 * (flip ? 1 - grey : grey);
    });
  }

  /** The function belongs to the file's window; without one the greys are spread evenly. */
  get #function(): VoiFunction {
    return this.#chain.window === null ? 'LINEAR' : this.#chain.voiFunction;
  }
}

export function countPixels(pixels: ArrayLike<number>): Counts {
  let [least, most] = [0, 0];
  for (let i = 0; i < pixels.length; i++) {
    const value = pixels[i]!;
    if (value < least) least = value;
    else if (value > most) most = value;
  }
  const numbers = new Float64Array(most - least + 1);
  for (let i = 0; i < pixels.length; i++) numbers[pixels[i]! - least]! += 1;
  return { least, numbers };
}

function storedValue(pixel: number, { bits }: Chain): number {
  const pattern = pixel & (2 ** bits.allocated - 1);
  const value = (pattern >> bits.shift) & (2 ** bits.stored - 1);
  return bits.signed && value >= 2 ** (bits.stored - 1) ? value - 2 ** bits.stored : value;
}

function modality(stored: number, { modalityLut, rescale }: Chain): number {
  return modalityLut ? lookUp(modalityLut, stored) : stored * rescale.slope + rescale.intercept;
}

function byLut(lut: Lut): (level: number) => number {
  const white = 2 ** lut.bits - 1;
  return (level) => lookUp(lut, level) / white;
}

/** PS3.3 C.11.2.1.2 and C.11.2.1.3. */
function byWindow({ lower, upper }: Range, voiFunction: VoiFunction): (level: number) => number {
  const width = upper - lower;
  if (voiFunction === 'SIGMOID') {
    const centre = (lower + upper) / 2;
    return (level) => 1 / (1 + Math.exp((-4 * (level - centre)) / width));
  }
  if (width <= 0) return (level) => (level > lower ? 1 : 0); // a LINEAR width of 1
  return (level) => (level - lower) / width;
}

function lookUp({ values, first }: Lut, value: number): number {
  return values[Math.floor(Math.min(Math.max(value - first, 0), values.length - 1))]!;
}

/** The levels between which the bulk of the pixels lies. */
function bulk(levels: Float64Array, counts: Float64Array): Range {
  const met = [...counts.keys()].filter((i) => counts[i]! > 0).sort((a, b) => levels[a]! - levels[b]!);
  const total = counts.reduce((sum, n) => sum + n, 0);
  const at = (share: number): number => {
    let seen = 0;
    return levels[met.find((i) => (seen += counts[i]!) >= total * share) ?? -1] ?? 0;
  };
  const [lower, upper] = [at(LOW), at(HIGH)];
  return upper > lower ? { lower, upper } : { lower, upper: lower + 1 };
}
