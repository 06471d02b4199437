/**
 * A radiograph to look at and nothing more: the same greys as the one being read, on a plain canvas.
 */

import { displaySpacing } from './geometry.ts';
import type { Point } from './geometry.ts';
import { h } from './dom.ts';
import type { Picture } from './picture.ts';
import { rgba } from './rgba.ts';

/** CSS pixels of a wheel that counts in lines. */
const LINE = 33;
/** Keys that the page leaves to this image while it has the keyboard. */
const OWN_KEYS = 'ArrowLeft ArrowRight ArrowUp ArrowDown + = - 0';
const CLOSEST = 32;
const NUDGE = 40;

export class Still {
  readonly canvas = h('canvas', { tabindex: '0', role: 'img', 'data-own-keys': OWN_KEYS });
  #picture: Picture | null = null;
  /** the whole image in greys, at its own size */
  #sheet: HTMLCanvasElement | null = null;
  #scale = 1;
  /** the image point in the middle of the canvas */
  #centre: Point = [0, 0];
  #fitted = true;
  #waiting = { greys: false, frame: false };

  constructor() {
    const { canvas } = this;
    new ResizeObserver(() => (this.#fitted ? this.fit() : this.#draw())).observe(canvas);
    canvas.addEventListener('wheel', (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('pointerdown', (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener('pointermove', (event) => this.#drag(event));
    canvas.addEventListener('dblclick', () => this.fit());
    canvas.addEventListener('keydown', (event) => this.#key(event));
  }

  /** Args: picture: null for none. */
  show(picture: Picture | null, says: string): void {
    if (picture === null && this.#picture === null) return; // measuring it would cost a layout
    this.#picture = picture;
    this.#sheet = null;
    this.canvas.setAttribute('aria-label', `${says}, read-only`);
    if (picture === null) return this.#draw();
    this.#sheet = h('canvas', { width: String(picture.facts.columns), height: String(picture.facts.rows) });
    this.fit();
    this.#later(true);
  }

  fit(): void {
    const { clientWidth, clientHeight } = this.canvas;
    const [width, height] = this.#size();
    this.#fitted = true;
    this.#centre = [width / 2, height / 2];
    this.#scale = Math.min(clientWidth / width, clientHeight / height) || 1;
    this.#draw();
  }

  /** Zoom by a factor about a point of the canvas; its middle if none. */
  zoom(factor: number, at?: Point): void {
    const { clientWidth, clientHeight } = this.canvas;
    const [x, y] = at ?? [clientWidth / 2, clientHeight / 2];
    const [width, height] = this.#size();
    const fit = Math.min(clientWidth / width, clientHeight / height);
    const scale = Math.min(Math.max(this.#scale * factor, fit / 4), Math.max(CLOSEST, fit));
    const away: Point = [x - clientWidth / 2, y - clientHeight / 2];
    const k = 1 / this.#scale - 1 / scale;
    this.#scale = scale;
    this.#fitted = false;
    this.#centre = [this.#centre[0] + away[0] * k, this.#centre[1] + away[1] * k];
    this.#draw();
  }

  pan(right: number, down: number): void {
    this.#fitted = false;
    this.#centre = [this.#centre[0] - right / this.#scale, this.#centre[1] - down / this.#scale];
    this.#draw();
  }

  /** Width and height in pixels as wide as a column; rows may be taller. */
  #size(): [number, number] {
    if (this.#picture === null) return [1, 1];
    const { rows, columns, pixelSpacing, imagerPixelSpacing } = this.#picture.facts;
    const [row, column] = displaySpacing(pixelSpacing, imagerPixelSpacing);
    return [columns, (rows * row) / column];
  }

  #wheel(event: WheelEvent): void {
    event.preventDefault();
    const box = this.canvas.getBoundingClientRect();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1;
    this.zoom(Math.exp((-event.deltaY * lines) / 500), [event.clientX - box.left, event.clientY - box.top]);
  }

  /** Left windows, middle (or Shift and left) pans, right zooms: as on the image being read. */
  #drag(event: PointerEvent): void {
    const { buttons, movementX: right, movementY: down } = event;
    if (buttons === 0 || this.#picture === null) return;
    if (buttons & 4 || event.shiftKey) return this.pan(right, down);
    if (buttons & 2) return this.zoom(Math.exp(-down / 150));
    this.#picture.greys.drag(right, down);
    this.#later(true);
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const moves: Readonly<Record<string, () => void>> = {
      ArrowLeft: () => this.pan(NUDGE, 0),
      ArrowRight: () => this.pan(-NUDGE, 0),
      ArrowUp: () => this.pan(0, NUDGE),
      ArrowDown: () => this.pan(0, -NUDGE),
      '+': () => this.zoom(1.25),
      '=': () => this.zoom(1.25),
      '-': () => this.zoom(0.8),
      '0': () => this.fit(),
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
  }

  /** Paint once a frame, however fast the mouse is. */
  #later(greys: boolean): void {
    this.#waiting.greys ||= greys;
    if (this.#waiting.frame) return;
    this.#waiting.frame = true;
    requestAnimationFrame(() => {
      const shaded = this.#waiting.greys;
      this.#waiting = { greys: false, frame: false };
      if (shaded) this.#shade();
      this.#draw();
    });
  }

  #shade(): void {
    if (this.#picture === null || this.#sheet === null) return;
    const { greys, pixels, facts } = this.#picture;
    const data = new ImageData(facts.columns, facts.rows);
    rgba(pixels, greys.table(), greys.least, data.data);
    this.#sheet.getContext('2d')?.putImageData(data, 0, 0);
  }

  #draw(): void {
    const { canvas } = this;
    const density = window.devicePixelRatio;
    const [wide, high] = [canvas.clientWidth, canvas.clientHeight].map((css) => Math.max(1, Math.round(css * density)));
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide!, high!];
    const context = canvas.getContext('2d');
    if (!context) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (this.#sheet === null) return;
    const k = this.#scale * density;
    const [width, height] = this.#size();
    context.imageSmoothingQuality = 'high';
    const left = canvas.width / 2 - this.#centre[0] * k;
    const top = canvas.height / 2 - this.#centre[1] * k;
    context.drawImage(this.#sheet, left, top, width * k, height * k);
  }
}
