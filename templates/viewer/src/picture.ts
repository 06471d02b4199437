/**
 * A radiograph made ready to be shown: fetched, checked, decoded, its greys worked out.
 */

import type { Types } from '@cornerstonejs/core';
import fileManager from '@cornerstonejs/dicom-image-loader/wadouri/fileManager';
import dataSets from '@cornerstonejs/dicom-image-loader/wadouri/dataSetCacheManager';
import { getLoaderForScheme, loadImageFromDataSet } from '@cornerstonejs/dicom-image-loader/wadouri/loadImage';
import type { ImageFacts } from './annotation.ts';
import { check, fetchDicom, ImageError } from './file.ts';
import { displaySpacing } from './geometry.ts';
import { Greys } from './greys.ts';

export interface Picture {
  readonly imageId: string;
  readonly facts: ImageFacts;
  readonly greys: Greys;
  readonly image: Types.IImage;
}

/** Args: url: of a DICOM Part 10 file. Throws ImageError. The viewer must have booted. */
export async function preparePicture(url: string): Promise<Picture> {
  return decodePicture(await fetchDicom(url));
}

/** Args: bytes: of a DICOM Part 10 file. Throws ImageError. */
export async function decodePicture(bytes: ArrayBuffer): Promise<Picture> {
  const { facts, chain } = check(bytes);
  const imageId = fileManager.add(new File([bytes], 'image.dcm'));
  const image = await decode(imageId, facts);
  const { minPixelValue: least, maxPixelValue: most } = image;
  const greys = new Greys(chain, image.getPixelData(), least, most);
  // its own reading of these is wrong, and a function it does not know makes it throw
  Object.assign(image, { voiLUTFunction: undefined, modalityLUT: undefined });
  return { imageId, facts, greys, image };
}

/** Forget a picture that is shown no more, or a reader's day would fill the memory. */
export function release({ imageId }: Picture): void {
  dataSets.unload(addressOf(imageId));
  fileManager.remove(Number(addressOf(imageId)));
}

/**
 * The image in a world of its own: a radiograph has no place in the patient, and what files say of
 * one (or of their spacing) must not reach the coordinates.
 */
export function planeOf(facts: ImageFacts): object {
  const [rowPixelSpacing, columnPixelSpacing] = displaySpacing(
    facts.pixelSpacing,
    facts.imagerPixelSpacing,
  );
  return {
    frameOfReferenceUID: facts.sopUid,
    rows: facts.rows,
    columns: facts.columns,
    imagePositionPatient: [0, 0, 0],
    imageOrientationPatient: [1, 0, 0, 0, 1, 0],
    rowCosines: [1, 0, 0],
    columnCosines: [0, 1, 0],
    pixelSpacing: [rowPixelSpacing, columnPixelSpacing],
    rowPixelSpacing,
    columnPixelSpacing,
  };
}

/**
 * Decode without Cornerstone's cache: that leaves a rejection of its own unhandled when the pixels
 * are damaged, and the loader's front door never settles when they are missing (both 5.14).
 */
async function decode(imageId: string, facts: ImageFacts): Promise<Types.IImage> {
  let image: Types.IImage;
  try {
    const url = addressOf(imageId);
    const data = await dataSets.load(url, getLoaderForScheme('dicomfile'), imageId);
    const unscaled = { preScale: { enabled: false } };
    image = (await loadImageFromDataSet(data, imageId, 0, url, unscaled).promise) as Types.IImage;
  } catch (error) {
    throw new ImageError(`it could not be decoded (${reason(error)})`);
  }
  const { rows, columns } = facts;
  // some codecs answer damaged data with an image of another size, or none
  if (image.rows !== rows || image.columns !== columns || image.getPixelData().length < rows * columns) {
    throw new ImageError('it could not be decoded (its pixels are damaged or incomplete)');
  }
  return image;
}

function addressOf(imageId: string): string {
  return imageId.slice(imageId.indexOf(':') + 1);
}

function reason(error: unknown): string {
  const inner = error instanceof Error ? error : (error as { error?: unknown } | null)?.error;
  const said = inner instanceof Error ? inner.message : String(inner ?? error);
  return said.slice(0, 200);
}
