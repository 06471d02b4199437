/**
 * The image's file, fetched; what goes wrong is said in words.
 */

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
