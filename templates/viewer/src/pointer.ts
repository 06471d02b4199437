/**
 * What the buttons of the mouse do on the image, as the job maps them.
 */

import { distance } from './geometry.ts';
import type { Point } from './geometry.ts';
import type { Radiograph } from './image.ts';
import { BUTTONS, DEFAULT_MOUSE, drawTool } from './mouse.ts';
import type { Mouse, Tool } from './mouse.ts';
import type { Rois } from './rois.ts';

export interface PointerEvents {
  /** where the pointer is, while the probe is in use; null: nowhere */
  probed(at: Point | null): void;
}

/** A mouse that rests within these CSS pixels clicks: anything further is a drag. */
const STILL = 4;

interface Held {
  readonly pointer: number;
  readonly tool: Tool | 'grab';
  readonly from: Point;
  /** the region that is selected if this turns out to be a click */
  readonly picks: string | null;
  last: Point;
  dragged: boolean;
}

export class Pointer {
  tool: Tool = 'window';
  mouse: Mouse = DEFAULT_MOUSE;
  readonly #stage: HTMLElement;
  readonly #radiograph: Radiograph;
  readonly #rois: Rois;
  readonly #events: PointerEvents;
  /** the button held, and what it does */
  #held: Held | null = null;

  constructor(radiograph: Radiograph, rois: Rois, events: PointerEvents) {
    this.#stage = radiograph.element;
    this.#radiograph = radiograph;
    this.#rois = rois;
    this.#events = events;
    const on = (name: string, act: (event: PointerEvent) => void): void =>
      this.#stage.addEventListener(name, act as EventListener);
    on('pointerdown', (event) => this.#down(event));
    on('pointermove', (event) => this.#move(event));
    on('pointerup', (event) => this.#up(event));
    on('pointercancel', (event) => this.#up(event));
    on('pointerleave', () => this.#events.probed(null));
    on('mousedown', (event) => {
      event.preventDefault(); // the middle one scrolls nothing, none gives the image the keyboard: arrows choose findings
      window.focus(); // prevented, it does not give the keys to a page in a frame
    });
    on('contextmenu', (event) => event.preventDefault());
  }

  /** Tell of the probe, if it is in use; Args: at: CSS pixels from the stage's corner. */
  probe(at: Point | null): void {
    this.#events.probed(this.tool === 'probe' ? at : null);
  }

  #down(event: PointerEvent): void {
    const button = BUTTONS[event.button];
    if (button === undefined || this.#held !== null || !this.#radiograph.ready) return;
    // a key pressed next is meant for the image, not for the comment
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
    const at = this.#at(event);
    const chosen = this.mouse[button] === 'tool';
    const tool = chosen ? this.tool : (this.mouse[button] as Tool);
    const draws = drawTool(tool);
    const reaches = chosen || draws !== null;
    const grabs = reaches && this.#rois.grab(at);
    const picks = reaches && !grabs ? this.#rois.under(at) : null;
    const { pointerId: pointer } = event;
    this.#held = { pointer, tool: grabs ? 'grab' : tool, from: at, picks, last: at, dragged: false };
    this.#stage.setPointerCapture(event.pointerId);
    if (!grabs && draws !== null) this.#rois.press(draws, at);
  }

  #move(event: PointerEvent): void {
    const held = this.#held;
    if (!this.#radiograph.ready || (held !== null && held.pointer !== event.pointerId)) return;
    const at = this.#at(event);
    this.probe(at);
    if (held !== null) held.dragged ||= distance(at, held.from) > STILL;
    if (held === null || held.tool === 'grab' || drawTool(held.tool) !== null) {
      const all = held === null ? [] : (event.getCoalescedEvents?.() ?? []);
      for (const one of all.length > 0 ? all : [event]) this.#rois.move(this.#at(one));
      return;
    }
    const [right, down] = [at[0] - held.last[0], at[1] - held.last[1]];
    if (held.tool === 'window') this.#radiograph.dragWindow(right, down);
    if (held.tool === 'pan') this.#radiograph.pan(right, down);
    if (held.tool === 'zoom') this.#radiograph.zoom(Math.exp(-down / 150), held.from);
    held.last = at;
  }

  #up(event: PointerEvent): void {
    const held = this.#held;
    if (held?.pointer !== event.pointerId) return;
    this.#held = null;
    if (held.picks !== null && !held.dragged && event.type === 'pointerup') {
      this.#rois.cancel(); // what a drawing tool began with the press
      return this.#rois.select(held.picks);
    }
    if (held.tool !== 'grab' && drawTool(held.tool) === null) return;
    if (event.type === 'pointercancel') this.#rois.cancel();
    else this.#rois.release(this.#at(event));
  }

  /** CSS pixels from the stage's corner. */
  #at(event: PointerEvent): Point {
    const box = this.#stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
}
