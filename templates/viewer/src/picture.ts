/**
 * A radiograph made ready to be shown: fetched, checked, decoded, its greys worked out.
 */

import type { ImageFacts } from './annotation.ts';
import { prepareFile } from './decode.ts';
import { fetchDicom } from './file.ts';
import { Greys } from './greys.ts';
import type { Pixels } from './prepare.ts';

export interface Picture {
  readonly facts: ImageFacts;
  readonly greys: Greys;
  /** as decoded, no rescaling */
  readonly pixels: Pixels;
  /** in the default window; null where it is drawn when it is shown */
  readonly drawn: ImageBitmap | null;
}

/** Args: url: of a DICOM Part 10 file. Throws ImageError. */
export async function preparePicture(url: string): Promise<Picture> {
  return decodePicture(await fetchDicom(url));
}

/** Args: bytes: of a DICOM Part 10 file. Throws ImageError. */
export async function decodePicture(bytes: ArrayBuffer): Promise<Picture> {
  const { facts, chain, counts, pixels, drawn } = await prepareFile(bytes);
  return { facts, greys: new Greys(chain, counts), pixels, drawn };
}

/** Forget a picture that is shown no more, or a reader's day would fill the memory. */
export function release({ drawn }: Picture): void {
  drawn?.close();
}
