/**
 * The image after this one: fetched and decoded while this one is read.
 */

import { preparePicture, release } from './picture.ts';
import type { Picture } from './picture.ts';
import { PortalError } from './portal.ts';
import type { Portal } from './portal.ts';

export class Ahead {
  readonly #portal: Portal | null;
  #id = '';
  #picture: Promise<Picture> | null = null;

  /** Args: portal: null in Ground Truth, where no next image can be asked for. */
  constructor(portal: Portal | null) {
    this.#portal = portal?.looksAhead ? portal : null;
  }

  /** Ask for the next image and make it ready. What fails here is tried again when it is due. */
  async look(): Promise<void> {
    try {
      const offer = (await this.#portal?.ahead()) ?? null;
      if (offer === null || offer.id === this.#id) return;
      this.drop();
      this.#id = offer.id;
      this.#picture = preparePicture(offer.task.imageUrl, true);
      await this.#picture;
      performance.mark('cxr-ahead');
    } catch (error) {
      this.#id = '';
      this.#picture = null;
      if (!(error instanceof PortalError)) console.debug(error);
    }
  }

  /** The picture of a task, if it is the one made ready; the caller has it from then on. */
  take(id: string): Promise<Picture> | null {
    const picture = id !== '' && id === this.#id ? this.#picture : null;
    if (picture === null) this.drop();
    this.#id = '';
    this.#picture = null;
    return picture;
  }

  drop(): void {
    this.#picture?.then(release, () => undefined);
    this.#id = '';
    this.#picture = null;
  }
}
