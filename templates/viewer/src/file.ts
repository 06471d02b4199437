/**
 * The image's file: fetched, and refused in words where it is not one grey radiograph.
 */

import { readHeader } from './dicom.ts';
import type { Header } from './dicom.ts';

/** A sentence the reader can act on. */
export class ImageError extends Error {
  /** the link is too old, and another one may open it */
  readonly expired: boolean;

  constructor(text: string, expired = false) {
    super(text);
    this.expired = expired;
  }
}

/** Fetch here rather than in the loader, so that what went wrong can be said. */
export async function fetchDicom(url: string): Promise<ArrayBuffer> {
  let response: Response;
  try {
    response = await fetch(url, { credentials: 'same-origin', referrerPolicy: 'no-referrer' });
  } catch {
    throw new ImageError('its server cannot be reached');
  }
  if (response.status === 401 || response.status === 403) {
    throw new ImageError(`its link has expired or was refused (${response.status})`, true);
  }
  if (!response.ok) throw new ImageError(`its server answered ${response.status}`);
  try {
    return await response.arrayBuffer();
  } catch {
    throw new ImageError('it arrived only in part');
  }
}

/** Read the header and refuse what is not one grey frame. */
export function check(bytes: ArrayBuffer): Header {
  let header: Header;
  try {
    header = readHeader(new Uint8Array(bytes));
  } catch {
    throw new ImageError('the file is not a readable DICOM file');
  }
  const { photometric } = header.facts;
  if (header.samplesPerPixel !== 1) throw new ImageError('it is a colour image, not a radiograph');
  if (!['MONOCHROME1', 'MONOCHROME2'].includes(photometric)) {
    throw new ImageError(`its greys are "${photometric}", not MONOCHROME1 or MONOCHROME2`);
  }
  const { allocated, stored } = header.chain.bits;
  if (![8, 16].includes(allocated) || stored < 1 || stored > allocated) {
    throw new ImageError(`it has ${stored} of ${allocated} bits a pixel, not up to 8 or 16`);
  }
  if (header.frames > 1) throw new ImageError(`it has ${header.frames} frames, not one`);
  return header;
}
