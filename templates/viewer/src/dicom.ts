/**
 * What the page needs of a DICOM file's header, read without the viewer.
 */

import { parseDicom } from 'dicom-parser';
import type { DataSet } from 'dicom-parser';
import { inflateRaw } from 'pako';
import type { ImageFacts } from './annotation.ts';

export interface Header {
  readonly facts: ImageFacts;
  readonly samplesPerPixel: number;
  readonly frames: number;
  /** the first window's centre and width, or null */
  readonly window: readonly [number, number] | null;
}

const PIXEL_DATA = 'x7fe00010';

/** Throws what dicom-parser throws when the bytes are not DICOM Part 10. */
export function readHeader(bytes: Uint8Array): Header {
  const data = parseDicom(bytes, { untilTag: PIXEL_DATA, inflater: inflate } as object);
  const [centre, width] = [data.floatString('x00281050'), data.floatString('x00281051')];
  const named = centre !== undefined && width !== undefined && width >= 1;
  return {
    facts: readFacts(data),
    samplesPerPixel: data.uint16('x00280002') ?? 1,
    frames: data.intString('x00280008') ?? 1,
    window: named ? [centre, width] : null,
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

/** Deflated Explicit VR Little Endian: everything after the file meta information is deflated. */
function inflate(bytes: Uint8Array, position: number): Uint8Array {
  const rest = inflateRaw(bytes.subarray(position));
  const whole = new Uint8Array(position + rest.length);
  whole.set(bytes.subarray(0, position));
  whole.set(rest, position);
  return whole;
}
