/**
 * Where a dispute stands among those to be decided, and the way from one to the next.
 */

import { h } from './dom.ts';
import { finite, path, record } from './given.ts';

export interface Dispute {
  /** from 1 */
  readonly number: number;
  readonly of: number;
  readonly decided: number;
  /** empty before the first */
  readonly previousUrl: string;
  /** empty after the last */
  readonly nextUrl: string;
}

/** Read what an offer says of its dispute; null if it is none. */
export function readDispute(given: unknown): Dispute | null {
  const dispute = record(given);
  const [number, of, decided] = ['number', 'of', 'decided'].map((key) => finite(dispute[key]) ?? -1) as [number, number, number];
  if (number < 1 || of < number || decided < 0) return null;
  return { number, of, decided, previousUrl: path(dispute['previousUrl']), nextUrl: path(dispute['nextUrl']) };
}

/** Links to the disputes before and after. */
export function disputeLinks({ number, of, previousUrl, nextUrl }: Dispute): HTMLElement[] {
  const place = ` (${number} of ${of})`;
  return [
    link('previous-dispute', '‹', `The dispute before${place}`, previousUrl),
    link('next-dispute', '›', `The next dispute${place}`, nextUrl),
  ];
}

function link(name: string, sign: string, says: string, url: string): HTMLElement {
  const common = { class: 'cxr-step', 'data-action': name, 'aria-label': says, title: says };
  return url === '' ? h('a', { ...common, 'aria-disabled': 'true', role: 'link' }, sign) : h('a', { ...common, href: url }, sign);
}
