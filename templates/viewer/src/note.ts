/**
 * One line to comment a finding, over the list: it opens beside its row, and nothing moves for it.
 */

import { h } from './dom.ts';

/** Characters of a comment on a finding. */
const LONGEST = 500;

export class Note {
  readonly element: HTMLElement;
  readonly #field: HTMLInputElement;
  readonly #wrote: (label: string, text: string) => void;
  #label: string | null = null;
  #back: HTMLElement | null = null;

  /** Args: wrote: called on every change of a comment. */
  constructor(wrote: (label: string, text: string) => void) {
    this.#wrote = wrote;
    this.#field = h('input', { type: 'text', maxlength: String(LONGEST), autocomplete: 'off' });
    this.element = h('div', { class: 'cxr-note', hidden: true }, this.#field);
    this.#field.addEventListener('input', () => {
      if (this.#label !== null) this.#wrote(this.#label, this.#field.value);
    });
    this.#field.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== 'Escape') return;
      if (event.ctrlKey || event.metaKey) return; // that submits
      event.preventDefault(); // Enter would submit the form the page stands in
      event.stopPropagation();
      this.close();
    });
    this.#field.addEventListener('blur', (event) => {
      if (event.relatedTarget !== this.#back) this.dismiss(); // its button closes it itself
    });
  }

  /** The finding whose comment is open. */
  get label(): string | null {
    return this.#label;
  }

  /** Args: row: the finding's row, in the same panel; back: gets the keyboard when it closes. */
  open(label: string, text: string, row: HTMLElement, back: HTMLElement): void {
    this.#label = label;
    this.#back = back;
    this.#field.value = text;
    this.#field.placeholder = `Comment on ${label}`;
    this.#field.setAttribute('aria-label', `Comment on ${label}`);
    this.element.hidden = false;
    const panel = this.element.offsetParent?.getBoundingClientRect() ?? new DOMRect();
    const at = row.getBoundingClientRect();
    const below = at.bottom + this.element.offsetHeight < panel.bottom;
    const top = below ? at.bottom : at.top - this.element.offsetHeight;
    this.element.style.top = `${top - panel.top}px`;
    this.#field.focus();
  }

  /** Put the keyboard back where it was. */
  close(): void {
    const back = this.#back;
    this.dismiss();
    back?.focus();
  }

  /** Close, and leave the keyboard where it is. */
  dismiss(): void {
    this.#label = null;
    this.#back = null;
    this.element.hidden = true;
  }
}
