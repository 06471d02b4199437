/**
 * An answer half done, as it is kept and given back: plain JSON, read without trusting its shape.
 */

import type { Drawn } from './annotation.ts';
import type { Answers } from './findings.ts';

export interface Saved {
  readonly answers: Answers;
  /** finding to what was written beside it */
  readonly comments: Readonly<Record<string, string>>;
  /** on the image */
  readonly comment: string;
  /** in image pixels, as drawn */
  readonly rois: readonly Drawn[];
  /** the finding that the reader was at */
  readonly chosen: string;
}
