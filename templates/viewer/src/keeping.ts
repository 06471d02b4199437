/**
 * Where the draft of an image goes, and which of those there are to go on from.
 */

import { LocalDrafts } from './drafts.ts';
import type { DraftStore } from './drafts.ts';
import { PortalError } from './portal.ts';
import type { Offer, Portal } from './portal.ts';
import { readSaved } from './saved.ts';
import type { Draft } from './saved.ts';

export interface Keeping {
  /** null where nothing can be kept */
  readonly store: DraftStore | null;
  /** of this tab; null where it may keep none */
  readonly local: LocalDrafts | null;
  readonly draft: Draft | null;
  /** the portal does not have this draft yet */
  readonly ahead: boolean;
}

/** Args: portal: null in Ground Truth, where this tab is all there is. */
export function keepingOf(portal: Portal | null, offer: Offer): Keeping {
  const { id, task, versions } = offer;
  const key = portal === null ? task.itemId : `${task.jobId}/${offer.dispute ? '' : `${id}/`}${task.itemId}`;
  const local = LocalDrafts.open(key, task.viewerSha);
  const mine = readSaved(local?.load(), versions);
  if (portal === null || offer.draftUrl === '') return { store: local, local, draft: mine, ahead: false };
  const save = (text: string, leaving: boolean): Promise<void> => {
    if (leaving) local?.put(text); // the page loaded next may ask the portal before it has this
    return portal.save(offer, text, leaving);
  };
  const ahead = mine !== null && mine.savedAt >= (offer.draft?.savedAt ?? 0);
  return { store: { save }, local, draft: ahead ? mine : offer.draft, ahead };
}

/** What to say of a draft that was kept (null), or was not, and whether to try again. */
export function saysOfDraft(error: unknown): { readonly text: string; readonly again: boolean } {
  if (error === null) return { text: '', again: true };
  if (!(error instanceof PortalError)) return { text: 'Not kept: this tab can keep no more', again: true };
  const { status, message } = error;
  if (status === 401) {
    return { text: 'Not kept yet: you are signed out. Sign in again in another tab, and stay here', again: true };
  }
  if (status === 410 || status === 423) return { text: `Not kept any more: ${message}`, again: false };
  if (status === 0 || status >= 500) return { text: 'Not kept yet: the portal does not answer. Trying again.', again: true };
  return { text: `Not kept yet: ${message}`, again: true };
}
