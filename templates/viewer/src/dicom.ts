/**
 * What the page needs of a DICOM file's header, read without the viewer.
 */

import { parseDicom } from 'dicom-parser';
import type { DataSet } from 'dicom-parser';
import { inflateRaw } from 'pako';
import type { ImageFacts } from './annotation.ts';
import type { Chain, Lut } from './greys.ts';
import type { VoiFunction } from './windows.ts';

export interface Header {
  readonly facts: ImageFacts;
  readonly samplesPerPixel: number;
  readonly frames: number;
  /** how stored values become greys */
  readonly chain: Chain;
}

const PIXEL_DATA = 'x7fe00010';
const FUNCTIONS: readonly string[] = ['LINEAR', 'LINEAR_EXACT', 'SIGMOID'];
/** Transfer syntaxes of pixels as they are; in the others a codec puts values into the low bits. */
const NATIVE = ['', '.1', '.1.99', '.2'].map((end) => `1.2.840.10008.1.2${end}`);

/** Throws what dicom-parser throws when the bytes are not DICOM Part 10. */
export function readHeader(bytes: Uint8Array): Header {
  const data = parseDicom(bytes, { untilTag: PIXEL_DATA, inflater: inflate } as object);
  const facts = readFacts(data);
  return {
    facts,
    samplesPerPixel: data.uint16('x00280002') ?? 1,
    frames: data.intString('x00280008') ?? 1,
    chain: readChain(data, facts),
  };
}

function readFacts(data: DataSet): ImageFacts {
  const text = (tag: string): string => data.string(tag)?.trim() ?? '';
  const parts = (tag: string): string[] | null =>
    text(tag) === '' ? null : text(tag).split('\\').map((part) => part.trim()); // prettier-ignore
  const numbers = (tag: string): number[] | null => parts(tag)?.map(Number) ?? null;
  return {
    studyUid: text('x0020000d'),
    seriesUid: text('x0020000e'),
    sopUid: text('x00080018'),
    frame: 1,
    rows: data.uint16('x00280010') ?? 0,
    columns: data.uint16('x00280011') ?? 0,
    pixelSpacing: numbers('x00280030'),
    imagerPixelSpacing: numbers('x00181164'),
    patientOrientation: parts('x00200020'),
    photometric: text('x00280004'),
    transferSyntax: text('x00020010'),
  };
}

function readChain(data: DataSet, facts: ImageFacts): Chain {
  const notes: string[] = [];
  const signed = data.uint16('x00280103') === 1;
  const slope = number(data, 'x00281053');
  if (slope === 0) notes.push('Rescale Slope of 0 ignored');
  const voiFunction = readFunction(data, notes);
  return {
    bits: readBits(data, facts, signed),
    inverted: facts.photometric === 'MONOCHROME1',
    padding: readPadding(data, signed),
    rescale: { slope: slope || 1, intercept: number(data, 'x00281052') ?? 0 },
    modalityLut: readLut(data, 'x00283000', 'Modality LUT', signed, notes),
    voiLut: readLut(data, 'x00283010', 'VOI LUT', signed, notes),
    window: readWindow(data, voiFunction),
    voiFunction,
    notes,
  };
}

function readBits(data: DataSet, facts: ImageFacts, signed: boolean): Chain['bits'] {
  const allocated = data.uint16('x00280100') ?? 8;
  const stored = data.uint16('x00280101') ?? allocated;
  const high = data.uint16('x00280102') ?? stored - 1;
  const odd = NATIVE.includes(facts.transferSyntax) && stored <= high + 1 && high < allocated;
  // the decoder extends the sign of what it takes for the lowest bits
  return { allocated, stored, shift: odd && !signed ? high + 1 - stored : 0, signed };
}

function readFunction(data: DataSet, notes: string[]): VoiFunction {
  const said = data.string('x00281056')?.trim().toUpperCase() || 'LINEAR';
  if (FUNCTIONS.includes(said)) return said as VoiFunction;
  notes.push(`${said} window shown as LINEAR`);
  return 'LINEAR';
}

/** A width of 0 is met in the wild, and means nothing (PS3.3 C.11.2.1.2.1). */
function readWindow(data: DataSet, voiFunction: VoiFunction): [number, number] | null {
  const [centre, width] = [number(data, 'x00281050'), number(data, 'x00281051')];
  if (centre === null || width === null || width <= 0) return null;
  return voiFunction === 'LINEAR' && width < 1 ? null : [centre, width];
}

/** Pixel Padding Value and Range Limit, either way round (PS3.3 C.7.5.1.1.2). */
function readPadding(data: DataSet, signed: boolean): [number, number] | null {
  const read = (tag: string): number | undefined => {
    const vr = data.elements[tag]?.vr ?? (signed ? 'SS' : 'US');
    return vr === 'SS' ? data.int16(tag) : data.uint16(tag);
  };
  const value = read('x00280120');
  if (value === undefined) return null;
  const limit = read('x00280121') ?? value;
  return [Math.min(value, limit), Math.max(value, limit)];
}

/** The first item's table; null, with a note, where there is one that cannot be read. */
function readLut(data: DataSet, tag: string, name: string, signed: boolean, notes: string[]): Lut | null {
  const items = data.elements[tag]?.items ?? [];
  if (items.length === 0) return null;
  const item = items[0]!.dataSet;
  const [entries, first, bits] = [0, 1, 2].map((i) => item?.uint16('x00283002', i));
  const length = item?.elements['x00283006']?.length ?? 0;
  const expected = entries || 65_536; // PS3.3 C.11.1.1.1: 16 bits wide, 0 stands for 65536
  if (!item || first === undefined || !bits || bits > 16 || length < expected) {
    notes.push(`${name} not readable, not used`);
    return null;
  }
  const { dataOffset } = item.elements['x00283006']!;
  const narrow = length < 2 * expected; // two 8-bit entries in each word
  const values = Uint16Array.from({ length: expected }, (_, i) =>
    narrow ? item.byteArray[dataOffset + i]! : item.uint16('x00283006', i)!,
  );
  return { values, first: signed && first > 0x7fff ? first - 65_536 : first, bits };
}

/** The first of possibly several numbers; null where there is none. */
function number(data: DataSet, tag: string): number | null {
  const value = data.floatString(tag, 0) ?? NaN;
  return Number.isFinite(value) ? value : null;
}

/** Deflated Explicit VR Little Endian: everything after the file meta information is deflated. */
export function inflate(bytes: Uint8Array, position: number): Uint8Array {
  const rest = inflateRaw(bytes.subarray(position));
  const whole = new Uint8Array(position + rest.length);
  whole.set(bytes.subarray(0, position));
  whole.set(rest, position);
  return whole;
}
