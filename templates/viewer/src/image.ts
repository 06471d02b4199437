/**
 * The radiograph on the screen: one canvas, what is on it, and from where it is seen.
 *
 * Canvas 2D everywhere: it needs no WebGL, is fast enough for one image, and is one path to get
 * coordinates right on. Where a pixel lies on the screen is said by camera.ts, for what is drawn
 * and for what is exported.
 */

import type { ImageFacts, ViewFacts } from './annotation.ts';
import { startDecoder } from './decode.ts';
import type { DecodeThread } from './decode.ts';
import * as cameras from './camera.ts';
import type { Camera, Edges, Scene } from './camera.ts';
import { displaySpacing } from './geometry.ts';
import type { Point } from './geometry.ts';
import type { Greys } from './greys.ts';
import { Painter } from './painter.ts';
import { release } from './picture.ts';
import type { Picture } from './picture.ts';
import type { Preset } from './windows.ts';

/** Canvas 2D, on any machine. */
const BACKEND = 'cpu';

export interface Shown {
  /** the window, and its function if it is not LINEAR */
  readonly greys: string;
  /** the window that was chosen, see `Greys.chosen` */
  readonly window: string | null;
  /** what of the file's greys could not be shown as it says */
  readonly notes: readonly string[];
  /** screen pixels per image pixel */
  readonly zoom: number;
  readonly inverted: boolean;
  readonly flipH: boolean;
  readonly flipV: boolean;
  /** where the patient's sides are on the screen */
  readonly edges: Edges;
}

/** A pixel's place and value. */
export interface Probed {
  readonly column: number;
  readonly row: number;
  readonly stored: number;
  /** after the modality LUT */
  readonly value: number;
}

const NOTHING = { rows: 1, columns: 1, pixelSpacing: null, imagerPixelSpacing: null };

export class Radiograph {
  readonly element: HTMLDivElement;
  thread: DecodeThread = 'main';
  /** what is shown and can be worked on */
  #picture: Picture | null = null;
  /** what is on the canvas, perhaps of the task before */
  #held: Picture | null = null;
  readonly #canvas = document.createElement('canvas');
  readonly #painter = new Painter();
  #drawing = false;
  #fitted = true;
  #camera: Camera = { centre: [0, 0], scale: 1, rotation: 0, flipH: false, flipV: false };
  /** canvas pixels per CSS pixel */
  #density: Point = [1, 1];
  readonly #changed: () => void;

  /** Args: changed: called after every change of window, zoom or position. */
  constructor(element: HTMLDivElement, changed: () => void) {
    this.element = element;
    this.#changed = changed;
  }

  /** Start the decoder, and make the canvas that pictures are shown on. */
  async boot(): Promise<void> {
    this.element.prepend(this.#canvas);
    new ResizeObserver(() => this.#resized()).observe(this.element);
    window.addEventListener('resize', () => this.#resized()); // a window moved to a denser screen
    this.thread = await startDecoder();
  }

  /** Put a picture in the place of the one before. Resolves once it is painted. */
  async show(picture: Picture): Promise<void> {
    const before = this.#held;
    this.#held = picture;
    this.#picture = picture;
    this.#painter.take(picture);
    this.#sizeCanvas();
    this.reset();
    this.#draw(); // now, and not in the next frame
    if (before !== null && before !== picture) release(before);
    await nextPaint();
  }

  /** Another picture is on its way: nothing can be done on the one still in the viewport. */
  clear(): void {
    this.#picture = null;
  }

  get facts(): ImageFacts | null {
    return this.#picture?.facts ?? null;
  }

  get ready(): boolean {
    return this.#picture !== null;
  }

  /** Upright and fitted, in the default window: as the file is first seen. */
  reset(): void {
    this.#fitted = true;
    this.#camera = cameras.upright(this.#scene());
    this.#shade((greys) => greys.reset());
    this.#render();
  }

  fit(): void {
    this.#fitted = true;
    this.#see((camera, scene) => cameras.fit(camera, scene));
  }

  /** One pixel of the image on one of the screen. */
  oneToOne(): void {
    this.#fitted = false;
    this.#see((camera) => ({ ...camera, scale: 1 }));
  }

  /** Turn what is seen by a quarter, clockwise or (-1) back. */
  turn(quarter: 1 | -1): void {
    this.#see((camera) => cameras.turn(camera, quarter));
    if (this.#fitted) this.fit();
  }

  /** Mirror what is seen: left and right, or top and bottom. */
  flip(axis: 'h' | 'v'): void {
    this.#see((camera) => cameras.flip(camera, axis));
  }

  /** Zoom by a factor, keeping what lies at `anchor` (CSS pixels in the element) where it is. */
  zoom(factor: number, anchor: Point = this.#middle()): void {
    this.#fitted = false;
    this.#see((camera, scene) => cameras.zoomAt(camera, scene, factor, this.#toCanvas(anchor)));
  }

  /** Move the image by (right, down) CSS pixels. */
  pan(right: number, down: number): void {
    this.#fitted = false;
    const by = this.#toCanvas([right, down]);
    this.#see((camera, scene) => cameras.pan(camera, scene, by[0], by[1]));
  }

  usePreset(name: Preset): void {
    this.#shade((greys) => greys.use(name));
  }

  /** Show a window of the job, in values after the modality LUT. */
  useWindow(center: number, width: number): void {
    this.#shade((greys) => greys.useWindow(center, width));
  }

  /** Drag by (right, down) CSS pixels: wider, and darker. */
  dragWindow(right: number, down: number): void {
    this.#shade((greys) => greys.drag(right, down));
  }

  toggleInvert(): void {
    this.#shade((greys) => greys.toggleInvert());
  }

  /** CSS pixels in the element to image pixels. */
  toPixel(screen: Point): Point {
    return cameras.toImage(this.#toCanvas(screen), this.#camera, this.#scene());
  }

  /** Image pixels to CSS pixels in the element. */
  toScreen(pixel: Point): Point {
    const [x, y] = cameras.toCanvas(pixel, this.#camera, this.#scene());
    const [kx, ky] = this.#density;
    return [x / kx, y / ky];
  }

  /** The pixel at an image position: its column and row, as stored, and after the modality LUT. */
  probe([x, y]: Point): Probed | null {
    if (this.#picture === null) return null;
    const { facts, greys, pixels } = this.#picture;
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || row < 0 || column >= facts.columns || row >= facts.rows) return null;
    const pixel = pixels[row * facts.columns + column]!;
    return { column, row, ...greys.values(pixel) };
  }

  shown(): Shown {
    const { inverted = false, notes = [] } = this.#picture?.greys ?? {};
    const { scale, flipH, flipV } = this.#camera;
    const edges = cameras.edges(this.facts?.patientOrientation ?? null, this.#camera);
    const window = this.#picture?.greys.chosen ?? null;
    return { greys: this.#picture?.greys.says() ?? '', window, notes, zoom: scale, inverted, flipH, flipV, edges };
  }

  view(): ViewFacts | null {
    if (this.#picture === null) return null;
    const { greys } = this.#picture;
    const { rotation, flipH, flipV } = this.#camera;
    return { window: greys.window, invert: greys.inverted, flipH, flipV, rotation, backend: BACKEND };
  }

  /** Change the greys, and show them. */
  #shade(change: (greys: Greys) => void): void {
    if (this.#picture === null) return;
    const { greys } = this.#picture;
    change(greys);
    this.#painter.shade();
    this.#render();
  }

  #scene(): Scene {
    const { width, height } = this.#canvas;
    const { rows, columns, pixelSpacing, imagerPixelSpacing } = this.facts ?? NOTHING;
    const spacing = displaySpacing(pixelSpacing, imagerPixelSpacing);
    return { rows, columns, spacing, width, height };
  }

  /** Change where one looks, and show it. */
  #see(change: (camera: Camera, scene: Scene) => Camera): void {
    if (this.#picture === null) return;
    this.#camera = change(this.#camera, this.#scene());
    this.#render();
  }

  #toCanvas([x, y]: Point): Point {
    const [kx, ky] = this.#density;
    return [x * kx, y * ky];
  }

  #middle(): Point {
    const { width, height } = this.element.getBoundingClientRect();
    return [width / 2, height / 2];
  }

  #sizeCanvas(): void {
    const canvas = this.#canvas;
    const { width, height } = this.element.getBoundingClientRect();
    const pixels = [width, height].map((css) =>
      Math.max(1, Math.round(css * window.devicePixelRatio)),
    ) as [number, number];
    if (width > 0 && height > 0) this.#density = [pixels[0] / width, pixels[1] / height];
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) {
      [canvas.width, canvas.height] = pixels;
    }
  }

  #resized(): void {
    this.#sizeCanvas();
    if (!this.ready) return;
    if (this.#fitted) this.fit();
    else this.#render();
  }

  /** Show what changed with the next frame. */
  #render(): void {
    this.#changed();
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => this.#drawing && this.#draw());
  }

  #draw(): void {
    this.#drawing = false;
    if (this.#picture === null) return;
    const context = this.#canvas.getContext('2d', { alpha: false });
    if (context) this.#painter.paint(context, cameras.matrix(this.#camera, this.#scene()));
  }
}

/** Resolves when what is drawn now is on the screen: in the task after the next frame's callbacks. */
function nextPaint(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    requestAnimationFrame(() => port2.postMessage(null));
  });
}
