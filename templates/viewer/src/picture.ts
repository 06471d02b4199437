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

/** Args: url: of a DICOM Part 10 file; early: it is not shown yet. Throws ImageError. */
export async function preparePicture(url: string, early = false): Promise<Picture> {
  return decodePicture(await fetchDicom(url), early);
}

/** Args: bytes: of a DICOM Part 10 file; early: it is not shown yet. Throws ImageError. */
export async function decodePicture(bytes: ArrayBuffer, early = false): Promise<Picture> {
  const { facts, chain, counts, pixels, drawn } = await prepareFile(bytes, early);
  return { facts, greys: new Greys(chain, counts), pixels, drawn };
}

/** Forget a picture that is shown no more, or a reader's day would fill the memory. */
export function release({ drawn }: Picture): void {
  drawn?.close();
}
