/**
 * Regions come to findings: which one a region belongs to, and what the answer makes of it.
 */

import { measuring, refusal } from './annotation.ts';
import type { Drawn } from './annotation.ts';
import type { Answer, State } from './findings.ts';
import type { Mark, Opinion } from './opinions.ts';
import type { Offer } from './page.ts';
import { isOrphan } from './regions.ts';
import type { View } from './viewing.ts';

/** The answer that regions belong to. */
export interface Desk {
  /** the label that says there is nothing to find */
  readonly noFinding: string | null;
  chosen(): string;
  choose(label: string): void;
  said(label: string): State;
  answer(label: string, answer: Answer): void;
  withdraw(label: string): void;
  /** what is done within is one step to undo */
  together(act: () => void): void;
  draw(): void;
}

export class Bindings {
  readonly #view: View;
  readonly #desk: Desk;
  /** findings that are present because a region was drawn, and not by a word of the reader's */
  readonly #implied = new Set<string>();
  /** what was last asked about, and how */
  #asked: { readonly id: string; readonly says: string } | null = null;

  constructor(view: View, desk: Desk) {
    this.#view = view;
    this.#desk = desk;
  }

  /** The reader answered a finding. */
  spoken(label: string): void {
    this.#implied.delete(label);
  }

  /** A region was drawn: bind it to the chosen finding, or say why it cannot stay. */
  completed(id: string): void {
    const { page, radiograph, rois } = this.#view;
    const drawn = rois.read(id);
    const { facts } = radiograph;
    if (!drawn || !facts) return;
    const label = this.#desk.chosen();
    const refused = this.#takesNone(label, drawn)
      ? `${label} has no region: choose the finding first`
      : refusal(drawn, facts);
    if (refused !== '') {
      rois.remove(id);
      return page.refuse(refused);
    }
    page.relent();
    rois.bind(id, label);
    this.#settle(id, label);
  }

  /** Give a region to another finding. */
  rebind(id: string, label: string): void {
    const { page, rois } = this.#view;
    const roi = rois.read(id);
    if (roi === null || roi.label === label) return;
    if (this.#takesNone(label, roi)) {
      this.#desk.draw(); // a choice in the list goes back to what it was
      return page.refuse(`${label} has no region: choose another finding`);
    }
    this.#desk.together(() => this.#move(id, roi.label, label));
  }

  #move(id: string, from: string, to: string): void {
    const { page, rois } = this.#view;
    rois.bind(id, to);
    const left = this.#left(from);
    if (left) this.#desk.withdraw(from);
    const back = (): void => {
      rois.bind(id, from);
      if (left) this.#settle(id, from);
    };
    const note = left ? `${from} is unanswered again: only its region had set it present.` : '';
    const asked = this.#settle(id, to, { text: `Leave it with ${from}`, act: back }, note);
    if (left && !asked) page.say(note);
  }

  /** Whether a finding is present for a region that it has no more. */
  #left(label: string): boolean {
    const has = this.#view.rois.drawn().some((roi) => roi.label === label && !measuring(roi.type));
    return this.#implied.has(label) && this.#desk.said(label) === 'present' && !has;
  }

  /** Give the selected region to the chosen finding. */
  rebindSelected(): void {
    const { page, rois } = this.#view;
    if (rois.selected === null) return page.refuse('Select a region first, then the finding it belongs to');
    this.rebind(rois.selected, this.#desk.chosen());
  }

  /** Make another reader's region one's own. */
  copy({ type, label, points }: Mark): void {
    this.#settle(this.#view.rois.add({ type, label, points }), label);
  }

  /** Take back the last of what is being drawn, or all of it; false if nothing is. */
  takeBack(): boolean {
    const { rois } = this.#view;
    return rois.back() || rois.cancel();
  }

  /** Take back the last vertex of a polygon that is being drawn, or delete what is selected. */
  removeLast(): void {
    const { rois } = this.#view;
    if (!rois.back() && rois.selected !== null) rois.remove(rois.selected);
  }

  #takesNone(label: string, roi: Drawn): boolean {
    return label === this.#desk.noFinding && !measuring(roi.type);
  }

  /** What is said of the finding may have to follow; true if that is asked. Args: instead: of that; note: to add. */
  #settle(id: string, label: string, instead?: Offer, note = ''): boolean {
    const { rois } = this.#view;
    this.#desk.choose(label);
    const said = this.#desk.said(label);
    const measures = measuring(rois.read(id)?.type ?? 'point');
    const asks = said === 'absent' && !measures;
    if (said === 'unanswered' && !measures) {
      this.#desk.answer(label, 'present');
      this.#implied.add(label);
    } else if (asks) this.ask(id, `${label} is marked absent, and now has a region. ${note}`.trim(), instead);
    this.#desk.draw();
    return asks;
  }

  /** A region whose finding says otherwise: ask, without standing in the way. Args: instead: of deleting it. */
  ask(id: string, says: string, instead?: Offer): void {
    const { page, rois } = this.#view;
    const label = rois.read(id)?.label ?? '';
    const remove = { text: 'Delete the region', act: (): void => rois.remove(id) };
    this.#asked = { id, says };
    const settle = ({ text, act }: Offer): Offer => ({
      text,
      act: () => {
        page.say('');
        act();
      },
    });
    page.say(says, [
      settle({ text: 'Set present', act: () => this.#desk.answer(label, 'present') }),
      settle({ text: 'Set uncertain', act: () => this.#desk.answer(label, 'uncertain') }),
      settle(instead ?? remove),
    ]);
  }

  /** Something changed: nothing is asked about a region that fits its finding by now, or is gone. */
  reconsider(): void {
    const { page, rois } = this.#view;
    if (this.#asked === null) return;
    const { id, says } = this.#asked;
    const roi = rois.read(id);
    if (roi !== null && isOrphan(roi, { [roi.label]: this.#desk.said(roi.label) })) return;
    this.#asked = null;
    if (page.said === says) page.say('');
  }

  /** Where a region is asked for and readers drew one: theirs. */
  readersOffers(label: string, opinions: readonly Opinion[]): Offer[] {
    const { page } = this.#view;
    return opinions.flatMap(({ name, marks }) => {
      const theirs = marks.filter((mark) => mark.label === label && !measuring(mark.type));
      if (theirs.length === 0) return [];
      const act = (): void => {
        page.say('');
        for (const mark of theirs) this.copy(mark);
      };
      return { text: `Copy ${name}’s`, act };
    });
  }
}
