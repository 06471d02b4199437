/**
 * Where a dispute is decided: what each blinded reader said, beside the decision.
 */

import { button, h, icon } from './dom.ts';
import { ICONS } from './icons.ts';
import type { Mark, Opinion } from './opinions.ts';
import { LETTERS, NAMES } from './row.ts';

/** A colour a reader, told apart from those of the states. */
const COLORS = [
  '#7ee787', '#d2a8ff', '#ff9bd2', '#56d4dd', '#ffb077', '#e2e26b', '#9fb4ff', '#c9ced4', '#f2b8c6',
]; // prettier-ignore

export function readerColor(index: number): string {
  return COLORS[index % COLORS.length]!;
}

export interface ReaderEvents {
  /** take a reader's answer on a finding */
  take(reader: Opinion, label: string): void;
  copyMark(mark: Mark): void;
  /** other readers' regions are to be shown than before */
  showReaders(): void;
}

export class Readers {
  /** a switch a reader: whether their regions are shown */
  readonly switches: HTMLElement;
  /** what they wrote and drew for the chosen finding */
  readonly said = h('ul', { class: 'cxr-said', 'aria-label': 'What the readers said' });
  readonly visible: Set<string>;
  readonly #opinions: readonly Opinion[];
  readonly #events: ReaderEvents;
  #about: string | null = null;

  constructor(opinions: readonly Opinion[], events: ReaderEvents) {
    this.#opinions = opinions;
    this.#events = events;
    this.visible = new Set(opinions.map((one) => one.name));
    this.switches = h('div', { class: 'cxr-readers', role: 'group', 'aria-label': 'Regions of reader' });
    this.switches.append(...opinions.map((one, i) => this.#switch(one, i)));
  }

  /** The readers' answers on one finding; a click takes it. */
  cells(label: string): HTMLElement {
    const cells = this.#opinions.map((one, i) => {
      const state = one.states[label] ?? 'unanswered';
      const comment = one.comments[label] ?? '';
      const answer = one.skipped ? 'Skipped' : NAMES[state];
      const title = `${one.name}: ${answer}${comment === '' ? '' : ` – ${comment}`}`;
      const cell = button(
        { 'data-reader': one.name, 'data-state': one.skipped ? 'skipped' : state, title },
        () => this.#events.take(one, label),
        one.skipped ? '⤫' : LETTERS[state],
      );
      const spoken = `Reader ${one.name} on ${label}: ${answer}${comment === '' ? '' : `, ${comment}`}`;
      cell.setAttribute('aria-label', state === 'unanswered' ? spoken : `${spoken}. Take this answer`);
      cell.toggleAttribute('data-comment', comment !== '');
      cell.disabled = one.skipped || state === 'unanswered';
      cell.style.setProperty('--reader', readerColor(i));
      return cell;
    });
    return h('div', { class: 'cxr-cells', role: 'group', 'aria-label': `Readers on ${label}` }, ...cells);
  }

  /** Show what was written and drawn for this finding. */
  update(label: string): void {
    if (label === this.#about) return; // rebuilt, it would lose the keyboard
    this.#about = label;
    const skips = this.#opinions.flatMap((one, i) => (one.skipped ? this.#skip(i, one.reason) : []));
    const lines = this.#opinions.flatMap((one, i) => this.#lines(one, i, label));
    const images = this.#opinions.flatMap((one, i) =>
      one.comment === '' ? [] : this.#line(i, `on the image: ${one.comment}`),
    );
    this.said.replaceChildren(...skips, ...lines, ...images);
    if (this.said.childElementCount > 0) return;
    this.said.append(h('li', { class: 'cxr-none' }, `No comment and no region on ${label}.`));
  }

  #lines(one: Opinion, index: number, label: string): HTMLLIElement[] {
    const comment = one.comments[label] ?? '';
    const marks = one.marks.filter((mark) => mark.label === label);
    if (comment === '' && marks.length === 0) return [];
    const line = this.#line(index, comment || NAMES[one.states[label] ?? 'unanswered'].toLowerCase());
    line.append(...marks.map((mark) => this.#copy(one, mark)));
    return [line];
  }

  #copy(one: Opinion, mark: Mark): HTMLElement {
    const title = `Copy this ${mark.type} of reader ${one.name}${mark.comment === '' ? '' : ` (${mark.comment})`}`;
    return button(
      { 'data-action': 'copy-mark', 'aria-label': `${title} of ${mark.label}`, title },
      () => this.#events.copyMark(mark),
      icon(ICONS[mark.type]),
      'Copy',
    );
  }

  /** Where others answered, whether it can be read is what there is to decide. */
  #skip(index: number, reason: string): HTMLLIElement {
    const all = this.#opinions.every((one) => one.skipped);
    const decide = all ? '' : ' – disputed: submit if it can be read, skip if not';
    const line = this.#line(index, `skipped: ${reason || 'no reason given'}${decide}`);
    line.toggleAttribute('data-skipped', !all);
    return line;
  }

  #line(index: number, text: string): HTMLLIElement {
    const name = h('b', {}, this.#opinions[index]!.name);
    name.style.color = readerColor(index);
    return h('li', {}, name, h('span', {}, text));
  }

  #switch(one: Opinion, index: number): HTMLButtonElement {
    const made = button(
      { role: 'switch', 'data-reader': one.name, 'aria-checked': 'true' },
      () => {
        const shown = !this.visible.delete(one.name);
        if (shown) this.visible.add(one.name);
        made.setAttribute('aria-checked', String(shown));
        this.#events.showReaders();
      },
      one.name.slice(0, 2),
    );
    made.style.setProperty('--reader', readerColor(index));
    made.title = `Show the regions of reader ${one.name}`;
    made.setAttribute('aria-label', made.title);
    return made;
  }
}
