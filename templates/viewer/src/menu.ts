/**
 * A small menu under a button: arrows or letters walk through it, and only a choice does anything.
 *
 * Not a <select>: that one changes with every arrow key, and takes the letters that are hotkeys.
 */

import { button, h } from './dom.ts';

/** CSS pixels between the menu and the edges of the window. */
const MARGIN = 4;

export class Menu {
  readonly #element = h('div', { class: 'cxr-menu', role: 'menu' });
  #opener: HTMLElement | null = null;

  constructor() {
    this.#element.addEventListener('keydown', (event) => this.#key(event));
    this.#element.addEventListener('focusout', (event) => {
      const to = event.relatedTarget;
      // a press of the opener closes it by itself
      if (!(to instanceof Node && this.#element.contains(to)) && to !== this.#opener) this.close();
    });
  }

  /** Args: opener: stands in an element of its own; current: the item that is marked. */
  toggle(opener: HTMLElement, items: readonly string[], current: string, chosen: (item: string) => void): void {
    const choices = items.map((item) => {
      const attributes = { role: 'menuitemradio', 'aria-checked': String(item === current), tabindex: '-1' };
      const choose = (): void => {
        this.#back();
        chosen(item);
      };
      return button(attributes, choose, item);
    });
    this.#toggle(opener, choices, items.indexOf(current));
  }

  /** Args: links: to other pages, as items of a menu. */
  toggleLinks(opener: HTMLElement, links: readonly HTMLElement[]): void {
    this.#toggle(opener, links, 0);
  }

  #toggle(opener: HTMLElement, choices: readonly HTMLElement[], first: number): void {
    const again = this.#opener === opener;
    this.close();
    if (again) return opener.focus();
    this.#opener = opener;
    this.#element.replaceChildren(...choices);
    this.#element.setAttribute('aria-label', opener.getAttribute('aria-label') ?? opener.textContent ?? '');
    opener.setAttribute('aria-expanded', 'true');
    opener.after(this.#element);
    this.#place(opener.getBoundingClientRect());
    (choices[first] ?? choices[0])?.focus();
  }

  /** Close, and leave the keyboard where it is. */
  close(): void {
    const opener = this.#opener;
    if (opener === null) return;
    this.#opener = null; // first: taking the focused item away closes it again
    opener.setAttribute('aria-expanded', 'false');
    this.#element.remove();
  }

  /** Close, and put the keyboard on the button. */
  #back(): void {
    const opener = this.#opener;
    opener?.focus({ preventScroll: true });
    this.close();
  }

  #place(at: DOMRect): void {
    const { style, offsetHeight, offsetWidth } = this.#element;
    const below = at.bottom + offsetHeight + MARGIN <= innerHeight;
    const top = below ? at.bottom : Math.max(at.top - offsetHeight, MARGIN);
    style.top = `${top}px`;
    style.left = `${Math.max(at.right - offsetWidth, MARGIN)}px`;
  }

  #key(event: KeyboardEvent): void {
    const { key, ctrlKey, altKey, metaKey } = event;
    if (ctrlKey || altKey || metaKey) return;
    const items = [...this.#element.children] as HTMLElement[];
    const at = items.findIndex((item) => item === document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[key];
    const end = { Home: 0, End: items.length - 1 }[key];
    const round = [...items.slice(at + 1), ...items.slice(0, at + 1)];
    const typed = key.length === 1 && key !== ' ' ? round.find((item) => starts(item, key)) : undefined;
    if (step !== undefined) items[(at + step + items.length) % items.length]?.focus();
    else if (end !== undefined) items[end]?.focus();
    else if (key === 'Escape' || key === 'Tab') this.#back();
    else if (typed) typed.focus();
    else return;
    if (key !== 'Tab') event.preventDefault(); // which goes on from the button
    event.stopPropagation();
  }
}

function starts({ textContent }: HTMLElement, key: string): boolean {
  return (textContent ?? '').toLowerCase().startsWith(key.toLowerCase());
}
