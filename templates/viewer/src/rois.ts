/**
 * The regions on the image: drawn, selected, moved, reshaped, each bound to a finding.
 *
 * Regions are plain points in image pixels; how they look is an SVG over the image. Cornerstone's
 * own tools are not used: they hold clicks back, measure wrongly and know no turned ellipses.
 */

import type { Drawn } from './annotation.ts';
import { distance } from './geometry.ts';
import type { Point } from './geometry.ts';
import type { Radiograph } from './image.ts';
import { Layer } from './layer.ts';
import type { Look } from './layer.ts';
import { closed, distanceTo, handles, moved, outline, reshape } from './shapes.ts';
import { Sketch } from './sketch.ts';
import type { DrawTool } from './sketch.ts';

/** Screen pixels within which a handle, then a line, is meant. */
const HANDLE = 8;
const LINE = 6;

/** What the page does about regions. */
export interface RoiEvents {
  /** a region was finished; it has no finding yet */
  completed(id: string): void;
  /** a region was moved, reshaped, selected or removed: paint them, and `redraw` */
  changed(): void;
  /** a region that was being moved or reshaped lies where it shall */
  settled(): void;
  /** what is being drawn may have changed */
  sketched(): void;
}

interface Hit {
  readonly id: string;
  /** null: the line itself */
  readonly handle: number | null;
}

export class Rois {
  readonly #radiograph: Radiograph;
  readonly #events: RoiEvents;
  readonly #layer: Layer;
  readonly #all = new Map<string, Drawn>();
  readonly #colors = new Map<string, string>();
  readonly #hidden = new Set<string>();
  #selected: string | null = null;
  #hovered: Hit | null = null;
  #sketch: Sketch | null = null;
  #grabbed: (Hit & { readonly from: Point; readonly before: Drawn }) | null = null;
  #shown = true;

  constructor(radiograph: Radiograph, events: RoiEvents) {
    this.#radiograph = radiograph;
    this.#events = events;
    this.#layer = new Layer(radiograph.element);
  }

  /** What is begun and not finished. */
  get sketch(): Sketch | null {
    return this.#sketch;
  }

  /** End the polygon that is being drawn; false if there is none that can be. */
  finish(): boolean {
    const closed = this.#sketch?.close() ?? false;
    if (closed) this.#progress();
    return closed;
  }

  /** Whether a region is begun, moved or reshaped. */
  get busy(): boolean {
    return this.#sketch !== null || this.#grabbed !== null;
  }

  /** Drop what is being drawn, or put back what is being dragged; true if there was something. */
  cancel(): boolean {
    const grabbed = this.#grabbed;
    if (this.#sketch === null && grabbed === null) return false;
    if (grabbed !== null && this.#all.has(grabbed.id)) this.#all.set(grabbed.id, grabbed.before);
    this.#sketch = null;
    this.#grabbed = null;
    this.#tell();
    return true;
  }

  /** Take back the last vertex of a polygon being drawn; false if there is none. */
  back(): boolean {
    const taken = this.#sketch?.back() ?? false;
    this.redraw();
    return taken;
  }

  /** The regions bound to a finding, in the order drawn. */
  drawn(): Drawn[] {
    return [...this.#all.values()].filter(({ label }) => label !== '');
  }

  /** One region, bound or not; null if it is gone. */
  read(id: string): Drawn | null {
    return this.#all.get(id) ?? null;
  }

  bind(id: string, label: string): void {
    const roi = this.#all.get(id);
    if (roi) this.#all.set(id, { ...roi, label });
    this.#tell();
  }

  remove(id: string): void {
    this.#all.delete(id);
    if (this.#selected === id) this.#selected = null;
    this.#tell();
  }

  /** Put one more region on the image; gives its id. */
  add(roi: Omit<Drawn, 'id'>): string {
    const id = uuid();
    this.#all.set(id, { ...roi, id });
    this.#tell();
    return id;
  }

  /** Take every region off the image. */
  clear(): void {
    this.#all.clear();
    this.#colors.clear();
    this.#hidden.clear();
    this.#sketch = this.#grabbed = this.#selected = this.#hovered = null;
    this.redraw();
  }

  /** Put regions on the image in the place of those there; they can be edited like any other. */
  restore(drawn: readonly Drawn[]): void {
    const selected = this.#selected;
    this.#sketch = this.#grabbed = this.#hovered = null;
    this.#all.clear();
    for (const roi of drawn) this.#all.set(roi.id, roi);
    this.#selected = selected !== null && this.#all.has(selected) ? selected : null;
    this.#tell();
  }

  get selected(): string | null {
    return this.#selected;
  }

  select(id: string | null): void {
    this.#selected = id !== null && this.#all.has(id) ? id : null;
    if (this.#selected !== null) this.#shown = true;
    if (this.#selected !== null) this.#hidden.delete(this.#selected);
    this.#tell();
  }

  /** The region `step` further than the selected one, round the end; null if there is none. */
  neighbour(step: 1 | -1): string | null {
    const ids = this.drawn().map(({ id }) => id);
    if (this.#selected === null) return ids.at(step > 0 ? 0 : -1) ?? null;
    return ids[(ids.indexOf(this.#selected) + step + ids.length) % ids.length] ?? null;
  }

  /** Whether regions are shown at all. */
  get shown(): boolean {
    return this.#shown;
  }

  /** Show or hide all regions; hidden ones come back when one is drawn or selected. */
  overlays(shown: boolean): void {
    this.#shown = shown;
    if (!shown) this.#selected = this.#hovered = null;
    this.#tell();
  }

  /** Regions that stay but are not seen; ids of regions that are gone do no harm. */
  get hidden(): ReadonlySet<string> {
    return this.#hidden;
  }

  /** Let one region be seen, or not. */
  show(id: string, visible: boolean): void {
    if (visible) this.#hidden.delete(id);
    else this.#hidden.add(id);
    if (!visible && this.#selected === id) this.#selected = null;
    this.#tell();
  }

  paint(id: string, color: string): void {
    this.#colors.set(id, color);
  }

  /** Press the drawing button at a place on the screen: begin a region, or go on with it. */
  press(tool: DrawTool, at: Point): void {
    this.#shown = true;
    const pixel = this.#radiograph.toPixel(at);
    if (this.#sketch === null) {
      this.#selected = null;
      this.#sketch = new Sketch(tool, pixel, (point) => this.#radiograph.toScreen(point));
    } else this.#sketch.press(pixel);
    this.#progress();
  }

  /** Take hold of the selected region; false if it is not under the pointer. No other is ever moved. */
  grab(at: Point): boolean {
    const hit = this.#sketch === null ? this.#hit(at) : null;
    const before = hit === null ? null : this.read(hit.id);
    if (hit === null || before === null || hit.id !== this.#selected) return false;
    this.#grabbed = { ...hit, from: this.#radiograph.toPixel(at), before };
    return true;
  }

  /** The region that a click here selects; null if there is none, or one is being drawn. */
  under(at: Point): string | null {
    return this.#sketch === null ? (this.#hit(at)?.id ?? null) : null;
  }

  /** The pointer moved, with a button held or without. */
  move(at: Point): void {
    const pixel = this.#radiograph.toPixel(at);
    if (this.#sketch !== null) {
      this.#sketch.move(pixel);
      return this.redraw();
    }
    if (this.#grabbed === null) return this.#hover(at);
    const { id, handle, from, before } = this.#grabbed;
    const by: Point = [pixel[0] - from[0], pixel[1] - from[1]];
    const shape = handle === null ? moved(before, by) : reshape(before, handle, pixel);
    this.#all.set(id, { ...before, points: shape.points });
    this.#tell();
  }

  release(at: Point): void {
    if (this.#sketch !== null) {
      this.#sketch.release(this.#radiograph.toPixel(at));
      return this.#progress();
    }
    const grabbed = this.#grabbed;
    this.#grabbed = null;
    if (grabbed !== null && this.read(grabbed.id) !== grabbed.before) this.#events.settled();
  }

  /** Draw what there is, where the camera has it now. */
  redraw(): void {
    this.#events.sketched();
    if (!this.#radiograph.ready) return this.#layer.draw([], () => [0, 0]);
    const looks: Look[] = [];
    for (const roi of this.#seen()) {
      const held = roi.id === this.#selected;
      const over = roi.id === this.#hovered?.id;
      const color = held || over ? '#ffffff' : (this.#colors.get(roi.id) ?? '#ffffff');
      looks.push({ shape: roi, color, id: roi.id, handles: held });
    }
    if (this.#sketch) looks.push({ shape: this.#sketch.shape, color: '#ffffff', open: !this.#sketch.done });
    this.#layer.draw(looks, (pixel) => this.#radiograph.toScreen(pixel));
  }

  #progress(): void {
    const sketch = this.#sketch;
    if (!sketch?.done) return this.redraw();
    this.#sketch = null;
    const id = uuid();
    this.#all.set(id, { id, label: '', ...sketch.shape });
    this.#selected = id;
    this.#events.completed(id);
    this.redraw();
  }

  #hover(at: Point): void {
    const hit = this.#hit(at);
    const { dataset } = this.#radiograph.element;
    const movable = hit !== null && hit.id === this.#selected;
    dataset['over'] = !movable ? '' : hit.handle === null ? 'line' : 'handle';
    if (hit?.id === this.#hovered?.id) return;
    this.#hovered = hit;
    this.redraw();
  }

  #hit(at: Point): Hit | null {
    if (!this.#radiograph.ready) return null;
    const toScreen = (pixel: Point): Point => this.#radiograph.toScreen(pixel);
    // the selected one first, then what lies on top
    const rois = this.#seen().filter(({ label }) => label !== '').reverse();
    rois.sort((a, b) => Number(b.id === this.#selected) - Number(a.id === this.#selected));
    for (const roi of rois) {
      const near = handles(roi).findIndex((point) => distance(toScreen(point), at) <= HANDLE);
      if (near >= 0) return { id: roi.id, handle: near };
    }
    const over = rois.find((roi) => distanceTo(outline(roi).map(toScreen), closed(roi.type), at) <= LINE);
    return over ? { id: over.id, handle: null } : null;
  }

  #seen(): Drawn[] {
    return this.#shown ? [...this.#all.values()].filter(({ id }) => !this.#hidden.has(id)) : [];
  }

  #tell(): void {
    this.#events.changed();
  }
}

function uuid(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID();
  // a page outside a secure context
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
