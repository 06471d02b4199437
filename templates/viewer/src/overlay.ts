/**
 * What is written over the image: where the patient's sides are, that it is flipped, the probe.
 */

import { h } from './dom.ts';
import type { Point } from './geometry.ts';
import type { Probed, Shown } from './image.ts';

export const SIDES = ['left', 'right', 'top', 'bottom'] as const;

/** Whether the file does not say which side of the patient is which. */
export function unsided({ edges }: Pick<Shown, 'edges'>): boolean {
  return SIDES.every((side) => edges[side] === '');
}

export class Overlay {
  readonly element = h('div', { class: 'cxr-overlay' });
  readonly #edges = new Map(SIDES.map((side) => [side, h('span', { class: 'cxr-edge', 'data-edge': side })]));
  readonly #flipped = h('strong', { class: 'cxr-flipped', role: 'status', hidden: true }, 'FLIPPED');
  readonly #hidden = h('span', { class: 'cxr-hidden', role: 'status', hidden: true }, 'Regions hidden');
  readonly #hint = h('span', { class: 'cxr-hint', role: 'status' });
  readonly #probe = h('output', { class: 'cxr-probe', hidden: true });

  constructor() {
    this.element.append(...this.#edges.values(), this.#flipped, this.#hidden, this.#hint, this.#probe);
  }

  /** Args: regions: whether they are shown. */
  show({ edges, flipH, flipV }: Shown, regions: boolean): void {
    const unknown = unsided({ edges });
    for (const [side, element] of this.#edges) {
      const lateral = side === 'left' || side === 'right';
      element.textContent = unknown && lateral ? '?' : edges[side];
    }
    this.#flipped.hidden = !flipH && !flipV;
    this.#hidden.hidden = regions;
  }

  /** What to do next while drawing; empty: nothing. */
  hint(text: string): void {
    if (this.#hint.textContent !== text) this.#hint.textContent = text;
  }

  /** There is no image to say anything of. */
  hide(): void {
    for (const element of this.#edges.values()) element.textContent = '';
    this.#flipped.hidden = true;
    this.probe(null, null);
  }

  /** Args: at: beside this, in CSS pixels; null: nowhere. */
  probe(probed: Probed | null, at: Point | null): void {
    this.#probe.hidden = probed === null || at === null;
    if (probed === null || at === null) return;
    const { column, row, stored, value } = probed;
    const raw = value === stored ? '' : `   stored ${stored}`;
    this.#probe.textContent = `x ${column}   y ${row}   value ${Math.round(value * 100) / 100}${raw}`;
    this.#probe.style.transform = `translate(${at[0] + 14}px, ${at[1] + 14}px)`;
  }
}
