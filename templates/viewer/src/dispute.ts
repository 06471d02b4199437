/**
 * The way from one dispute to the next, where the portal names them.
 */

import { h } from './dom.ts';
import { finite, isRecord, record, text } from './given.ts';
import type { Given } from './given.ts';

/** What `<meta name="cxr-offer">` says of the dispute that is shown; null if it is none. */
export function readDispute(offer: string): Given | null {
  let given: unknown;
  try {
    given = JSON.parse(offer);
  } catch {
    return null;
  }
  const dispute = record(given)['dispute'];
  return isRecord(dispute) ? dispute : null;
}

/** Links to the disputes before and after; empty where no dispute is decided. */
export function disputeLinks(): HTMLElement[] {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="cxr-offer"]');
  const dispute = readDispute(meta?.content ?? '');
  if (dispute === null) return [];
  const [number, of] = [finite(dispute['number']), finite(dispute['of'])];
  const place = number === null || of === null ? '' : ` (${number} of ${of})`;
  return [
    link('previous-dispute', '‹', `The dispute before${place}`, dispute['previousUrl']),
    link('next-dispute', '›', `The next dispute${place}`, dispute['nextUrl']),
  ];
}

function link(name: string, sign: string, says: string, address: unknown): HTMLElement {
  // an address of the portal's own, or none
  const url = /^\/(?![/\\])/.test(text(address)) ? text(address) : '';
  const common = { class: 'cxr-step', 'data-action': name, 'aria-label': says, title: says };
  return url === '' ? h('a', { ...common, 'aria-disabled': 'true', role: 'link' }, sign) : h('a', { ...common, href: url }, sign);
}
