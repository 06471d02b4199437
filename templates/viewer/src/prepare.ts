/**
 * From a file's bytes to pixels and greys, all of it in the decoder's worker.
 */

import { decodeImageFrame } from 'cornerstone-decode-frame';
import { parseDicom, readEncapsulatedPixelDataFromFragments } from 'dicom-parser';
import type { DataSet } from 'dicom-parser';
import type { ImageFacts } from './annotation.ts';
import { inflate, readHeader } from './dicom.ts';
import type { Header } from './dicom.ts';
import { countPixels, Greys } from './greys.ts';
import type { Chain, Counts } from './greys.ts';
import { rgba } from './rgba.ts';

export type Pixels = Uint8Array | Uint16Array | Int8Array | Int16Array;

export interface Prepared {
  readonly facts: ImageFacts;
  readonly chain: Chain;
  /** as decoded, no rescaling */
  readonly pixels: Pixels;
  readonly counts: Counts;
  /** the picture in its default window, where there was time to draw it */
  readonly drawn: ImageBitmap | null;
}

const PIXEL_DATA = 'x7fe00010';

/** Args: draw: also draw the default window. Throws an Error that says what is wrong with the file. */
export async function prepare(bytes: ArrayBuffer, draw: boolean): Promise<Prepared> {
  const header = check(bytes);
  const { facts, chain } = header;
  const pixels = await decode(new Uint8Array(bytes), header);
  const counts = countPixels(pixels);
  const drawn = draw ? await drawing(pixels, new Greys(chain, counts), facts) : null;
  return { facts, chain, pixels, counts, drawn };
}

function drawing(pixels: Pixels, greys: Greys, { rows, columns }: ImageFacts): Promise<ImageBitmap> {
  const data = new ImageData(columns, rows);
  rgba(pixels, greys.table(), greys.least, data.data);
  return createImageBitmap(data);
}

/** Read the header and refuse what is not one grey frame. */
function check(bytes: ArrayBuffer): Header {
  let header: Header;
  try {
    header = readHeader(new Uint8Array(bytes));
  } catch {
    throw new Error('the file is not a readable DICOM file');
  }
  const { photometric } = header.facts;
  if (header.samplesPerPixel !== 1) throw new Error('it is a colour image, not a radiograph');
  if (!['MONOCHROME1', 'MONOCHROME2'].includes(photometric)) {
    throw new Error(`its greys are "${photometric}", not MONOCHROME1 or MONOCHROME2`);
  }
  const { allocated, stored } = header.chain.bits;
  if (![8, 16].includes(allocated) || stored < 1 || stored > allocated) {
    throw new Error(`it has ${stored} of ${allocated} bits a pixel, not up to 8 or 16`);
  }
  if (header.frames > 1) throw new Error(`it has ${header.frames} frames, not one`);
  return header;
}

async function decode(bytes: Uint8Array, { facts, chain }: Header): Promise<Pixels> {
  const { rows, columns } = facts;
  const { allocated, stored, signed } = chain.bits;
  const frame = {
    samplesPerPixel: 1,
    photometricInterpretation: facts.photometric,
    planarConfiguration: 0,
    rows,
    columns,
    bitsAllocated: allocated,
    bitsStored: stored,
    pixelRepresentation: signed ? 1 : 0,
  };
  let pixels: Pixels;
  try {
    const options = { preScale: { enabled: false } };
    const coded = frameOf(parse(bytes));
    ({ pixelData: pixels } = await decodeImageFrame(frame, facts.transferSyntax, coded, {}, options, undefined));
  } catch (error) {
    throw new Error(`it could not be decoded${reason(error)}`);
  }
  // some codecs answer damaged data with an image of another size, or none
  if (frame.rows !== rows || frame.columns !== columns || pixels.length < rows * columns) {
    throw new Error('it could not be decoded (its pixels are damaged or incomplete)');
  }
  return pixels;
}

/** The whole file; its header was read before, so what fails here is its end. */
function parse(bytes: Uint8Array): DataSet {
  try {
    return parseDicom(bytes, { inflater: inflate } as object);
  } catch {
    throw new Error('its file is damaged or incomplete'); // the parser says where in its own code it was
  }
}

/** The bytes of the one frame; all fragments are its. */
function frameOf(data: DataSet): Uint8Array {
  const element = data.elements[PIXEL_DATA];
  if (!element) throw new Error('no pixels');
  if (element.encapsulatedPixelData) {
    const fragments = element.fragments?.length ?? 0;
    return readEncapsulatedPixelDataFromFragments(data, element, 0, fragments);
  }
  return data.byteArray.subarray(element.dataOffset, element.dataOffset + element.length);
}

/** Why, in brackets; nothing where codecs throw what holds no words. */
function reason(error: unknown): string {
  const inner = error instanceof Error ? error : ((error as { error?: unknown } | null)?.error ?? error);
  const said = inner instanceof Error ? inner.message : inner;
  return typeof said === 'string' && said !== '' ? ` (${said.slice(0, 200)})` : '';
}
