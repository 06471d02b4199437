/**
 * The job's name, and under it the way to the portal's other pages; in Ground Truth the name alone.
 */

import { button, h } from './dom.ts';
import { Menu } from './menu.ts';

/** A page of the portal that the reader may open. */
export interface Room {
  readonly text: string;
  readonly url: string;
}

export class Rooms {
  readonly element = h('h1');
  readonly #name = h('span');
  readonly #menu = new Menu();
  readonly #opener = button(
    { 'data-action': 'rooms', 'aria-haspopup': 'menu', 'aria-expanded': 'false' },
    () => this.#toggle(),
    this.#name,
    h('span', { 'aria-hidden': 'true' }, '▾'),
  );
  #rooms: readonly Room[] = [];

  /** Args: title: what is said of it further. */
  begin(name: string, title: string): void {
    this.#menu.close();
    this.#name.textContent = name;
    this.element.title = title;
    this.show(this.#rooms);
  }

  show(rooms: readonly Room[]): void {
    this.#rooms = rooms;
    this.element.replaceChildren(rooms.length > 0 ? this.#opener : (this.#name.textContent ?? ''));
    if (rooms.length > 0) this.#opener.prepend(this.#name);
  }

  #toggle(): void {
    const links = this.#rooms.map(({ text, url }) => h('a', { href: url, role: 'menuitem', tabindex: '-1' }, text));
    this.#menu.toggleLinks(this.#opener, links);
  }
}
