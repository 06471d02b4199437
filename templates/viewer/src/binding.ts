/**
 * Regions come to findings: which one a region belongs to, and what the answer makes of it.
 */

import { measuring, refusal } from './annotation.ts';
import type { Drawn } from './annotation.ts';
import type { Answer, State } from './findings.ts';
import type { Mark } from './opinions.ts';
import type { Offer } from './page.ts';
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
      return page.say(refused);
    }
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
      return page.say(`${label} has no region: choose another finding`);
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
    if (rois.selected === null) return page.say('Select a region first, then the finding it belongs to');
    this.rebind(rois.selected, this.#desk.chosen());
  }

  /** Make another reader's region one's own. */
  copy({ type, label, points }: Mark): void {
    this.#settle(this.#view.rois.add({ type, label, points }), label);
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
    const remove = { text: 'Delete the region', act: (): void => rois.remove(id) };
    this.#desk.choose(label);
    const said = this.#desk.said(label);
    const measures = measuring(rois.read(id)?.type ?? 'point');
    const asks = said === 'absent' && !measures;
    if (said === 'unanswered' && !measures) {
      this.#desk.answer(label, 'present');
      this.#implied.add(label);
    } else if (asks) this.#ask(label, instead ?? remove, note);
    this.#desk.draw();
    return asks;
  }

  /** A region on an absent finding: ask, without standing in the way. */
  #ask(label: string, instead: Offer, note: string): void {
    const { page } = this.#view;
    const settle = ({ text, act }: Offer): Offer => ({
      text,
      act: () => {
        page.say('');
        act();
      },
    });
    page.say(`${label} is marked absent, and now has a region. ${note}`.trim(), [
      settle({ text: 'Set present', act: () => this.#desk.answer(label, 'present') }),
      settle({ text: 'Set uncertain', act: () => this.#desk.answer(label, 'uncertain') }),
      settle(instead),
    ]);
  }
}
