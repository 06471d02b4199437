/**
 * Which image this is among the reader's, and the way to those before and after.
 */

import { disputeLinks } from './dispute.ts';
import type { Dispute } from './dispute.ts';
import { button, h } from './dom.ts';
import { withKey } from './keys.ts';
import type { Binding, Command } from './keys.ts';
import type { Offer } from './portal.ts';

export class Place {
  readonly words = h('span', { class: 'cxr-place' });
  readonly progress = h('progress', { class: 'cxr-progress', 'aria-label': 'Images answered' });
  /** to the disputes before and after */
  readonly steps = h('span', { class: 'cxr-steps' });
  readonly previous: HTMLButtonElement;
  readonly next: HTMLButtonElement;

  constructor(run: (command: Command) => void) {
    this.previous = button({ 'data-action': 'previous' }, () => run('previous'), '‹ Previous');
    this.next = button({ 'data-action': 'next' }, () => run('next'), 'Next ›');
  }

  /** The keys that the job has. */
  equip(keys: readonly Binding[]): void {
    this.previous.title = withKey('The image before', 'previous', keys);
    this.next.title = withKey('The image after, without submitting', 'next', keys);
  }

  show({ position, number, previous, next, answer, dispute }: Offer): void {
    this.words.hidden = this.progress.hidden = position === null;
    this.previous.hidden = previous === null;
    this.next.hidden = next === null;
    if (dispute !== null) return this.#showDispute(dispute);
    if (position === null) return;
    const { answered, total } = position;
    const at = Math.min(number ?? answered + 1, total);
    this.words.textContent = answer === null ? `${at} of ${total}` : `image ${at} · answered`;
    this.progress.max = total;
    this.progress.value = answered;
  }

  #showDispute(dispute: Dispute): void {
    const { number, of, decided } = dispute;
    this.steps.replaceChildren(...disputeLinks(dispute));
    this.words.hidden = this.progress.hidden = false;
    this.words.textContent = `disagreement ${number} of ${of} · ${decided} decided`;
    this.progress.max = of;
    this.progress.value = decided;
    this.progress.setAttribute('aria-label', 'Disagreements decided');
  }
}
