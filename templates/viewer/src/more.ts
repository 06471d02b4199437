/**
 * A sign that there is more below what is seen of something that scrolls.
 */

import { h } from './dom.ts';

export class More {
  readonly element = h('span', { class: 'cxr-more', 'aria-hidden': 'true', hidden: true }, 'more ↓');
  readonly #of: HTMLElement;

  /** Args: of: scrolls; its parent, which holds this too, is what places are counted from. */
  constructor(of: HTMLElement) {
    this.#of = of;
    const look = (): void => this.#look();
    of.addEventListener('scroll', look, { passive: true });
    new ResizeObserver(look).observe(of);
    new MutationObserver(look).observe(of, { childList: true, subtree: true, characterData: true });
  }

  #look(): void {
    const { scrollHeight, scrollTop, clientHeight, offsetTop } = this.#of;
    const below = scrollHeight - scrollTop - clientHeight;
    this.element.hidden = below < 8;
    this.element.style.top = `${offsetTop + clientHeight - 19}px`;
  }
}
