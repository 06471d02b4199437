/**
 * Drawing by keyboard: on the focused image, arrows move a crosshair and Enter is its button.
 */

import { h } from './dom.ts';
import type { Point } from './geometry.ts';
import type { Radiograph } from './image.ts';
import { drawTool } from './mouse.ts';
import type { Pointer } from './pointer.ts';
import type { Rois } from './rois.ts';

/** CSS pixels of a step; zooming in makes it finer. */
const STEP = 8;
const WAYS: Readonly<Record<string, Point>> = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
}; // prettier-ignore

export class Crosshair {
  readonly #stage: HTMLElement;
  readonly #radiograph: Radiograph;
  readonly #rois: Rois;
  readonly #pointer: Pointer;
  readonly #mark = h('div', { class: 'cxr-crosshair', 'aria-hidden': 'true', hidden: true });
  #at: Point | null = null;
  /** a region is held, or a freehand line begun, until the next Enter */
  #held = false;

  constructor(radiograph: Radiograph, rois: Rois, pointer: Pointer) {
    this.#stage = radiograph.element;
    this.#radiograph = radiograph;
    this.#rois = rois;
    this.#pointer = pointer;
    this.#stage.append(this.#mark);
    this.#stage.tabIndex = 0;
    this.#stage.dataset['ownKeys'] = [...Object.keys(WAYS), 'Enter'].join(' '); // see input.ts
    this.#stage.addEventListener('keydown', (event) => this.#key(event));
    this.#stage.addEventListener('focus', () => this.#move([0, 0]));
    this.#stage.addEventListener('blur', () => this.#leave());
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || !this.#radiograph.ready) return;
    const way = WAYS[event.key];
    if (way) this.#move([way[0] * STEP, way[1] * STEP]);
    else if (event.key === 'Enter' && !event.repeat) this.#press();
    else return;
    event.preventDefault();
  }

  #move(by: Point): void {
    if (!this.#radiograph.ready) return;
    const { clientWidth: width, clientHeight: height } = this.#stage;
    const [x, y] = this.#at ?? [width / 2, height / 2];
    const within = (value: number, most: number): number => Math.min(Math.max(value, 0), most);
    this.#at = [within(x + by[0], width), within(y + by[1], height)];
    this.#mark.hidden = false;
    this.#mark.style.transform = `translate(${this.#at[0]}px, ${this.#at[1]}px)`;
    this.#rois.move(this.#at);
    this.#pointer.probe(this.#at);
  }

  #press(): void {
    const at = this.#at;
    if (at === null) return;
    const held = this.#held && this.#rois.busy; // Esc may have dropped it
    this.#held = false;
    if (held) {
      return this.#rois.release(at);
    }
    const tool = drawTool(this.#pointer.tool);
    const other = this.#rois.under(at);
    if (this.#rois.sketch === null && this.#rois.grab(at)) this.#held = true;
    else if (other !== null) this.#rois.select(other);
    else if (tool !== null) {
      this.#rois.press(tool, at);
      if (tool === 'freehand') this.#held = true;
      else this.#rois.release(at);
    }
  }

  #leave(): void {
    this.#mark.hidden = true;
    if (this.#held) this.#rois.cancel();
    this.#held = false;
    this.#pointer.probe(null);
  }
}
