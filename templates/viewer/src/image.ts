/**
 * The radiograph on the screen: Cornerstone3D's CPU viewport, and what it needs to be right.
 *
 * CPU rendering everywhere: it needs no WebGL, is fast enough for one image, and is one path to
 * get coordinates right on. Cornerstone only paints: where a pixel lies on the screen is said by
 * camera.ts, and handed over. It sizes its CPU canvas in CSS pixels, so this module sizes it itself.
 */

import * as core from '@cornerstonejs/core';
import type { Types } from '@cornerstonejs/core';
import { metaDataProvider } from '@cornerstonejs/dicom-image-loader/wadouri/metaData/index';
import type { ImageFacts, ViewFacts } from './annotation.ts';
import { registerDecoder } from './decode.ts';
import type { DecodeThread } from './decode.ts';
import { ImageError } from './file.ts';
import * as cameras from './camera.ts';
import type { Camera, Edges, Scene } from './camera.ts';
import { displaySpacing } from './geometry.ts';
import type { Point } from './geometry.ts';
import type { Greys } from './greys.ts';
import { planeOf, release } from './picture.ts';
import type { Picture } from './picture.ts';
import type { Preset } from './windows.ts';

export const ENGINE = 'cxr';
export const VIEWPORT = 'radiograph';
const BACKEND = 'cpu';
/** Priority of our image plane before the one read from the file. */
const FIRST = 10_000;

/** What the CPU viewport keeps to itself in 5.14 and no method sets, or sets right. */
interface CpuViewport {
  readonly _cpuFallbackEnabledElement: {
    viewport: { voiLUT?: Handed; rotation: number; translation: { x: number; y: number } };
  };
}

/** A table of greys where Cornerstone expects a VOI LUT; vite.config.mjs lets it through. */
interface Handed {
  readonly id: number;
  readonly table: Uint8ClampedArray;
}

export interface Shown {
  /** the window, and its function if it is not LINEAR */
  readonly greys: string;
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
  #viewport: Types.IStackViewport | null = null;
  /** what is shown and can be worked on */
  #picture: Picture | null = null;
  /** what the viewport holds, perhaps of the task before */
  #held: Picture | null = null;
  #handed = 0;
  #fitted = true;
  #camera: Camera = { centre: [0, 0], scale: 1, rotation: 0, flipH: false, flipV: false };
  /** canvas pixels per CSS pixel */
  #density: Point = [1, 1];
  readonly #changed: () => void;
  readonly #planes = new Map<string, object>();

  /** Args: changed: called after every change of window, zoom or position. */
  constructor(element: HTMLDivElement, changed: () => void) {
    this.element = element;
    this.#changed = changed;
  }

  /** Start Cornerstone once; pictures are shown by `show`. */
  async boot(): Promise<void> {
    core.setUseCPURendering(true);
    core.init();
    this.thread = await registerDecoder();
    // The parts of the loader, not its front door: that brings every codec a second time, and reads
    // files with dcmjs, which in 5.14 knows no deflated transfer syntax; these use dicom-parser.
    core.metaData.addProvider(metaDataProvider);
    const { IMAGE_PLANE } = core.Enums.MetadataModules;
    core.metaData.addProvider(
      (type: string, id: string) => (type === IMAGE_PLANE ? this.#planes.get(id) : undefined),
      FIRST,
    );
    const engine = new core.RenderingEngine(ENGINE);
    engine.enableElement({
      viewportId: VIEWPORT,
      type: core.Enums.ViewportType.STACK,
      element: this.element,
    });
    this.#viewport = engine.getViewport(VIEWPORT) as Types.IStackViewport;
    this.#viewport.resize = () => this.#sizeCanvas();
    new ResizeObserver(() => this.#resized()).observe(this.element);
    window.addEventListener('resize', () => this.#resized()); // a window moved to a denser screen
  }

  /** Put a picture in the place of the one before. Resolves once it is painted. */
  async show(picture: Picture): Promise<void> {
    const { imageId, facts, greys, image } = picture;
    const before = this.#held;
    this.#held = picture;
    this.#planes.set(imageId, planeOf(facts));
    // square pixels unless the file says otherwise, by the same rule as the camera's
    const [rowPixelSpacing, columnPixelSpacing] = displaySpacing(facts.pixelSpacing, facts.imagerPixelSpacing);
    Object.assign(image, { voiLUT: this.#hand(greys), rowPixelSpacing, columnPixelSpacing });
    core.cache.putImageSync(imageId, image);
    this.#picture = picture;
    this.#sizeCanvas();
    const painted = nextPaint(this.element);
    await this.viewport.setStack([imageId]);
    this.reset();
    await painted;
    if (before === null || before.imageId === imageId) return;
    core.cache.removeImageLoadObject(before.imageId);
    this.#planes.delete(before.imageId);
    release(before);
  }

  /** Another picture is on its way: nothing can be done on the one still in the viewport. */
  clear(): void {
    this.#picture = null;
  }

  get facts(): ImageFacts | null {
    return this.#picture?.facts ?? null;
  }

  get viewport(): Types.IStackViewport {
    if (this.#viewport === null) throw new ImageError('the viewer has not started');
    return this.#viewport;
  }

  get ready(): boolean {
    return this.#picture !== null;
  }

  /** Upright and fitted, in the default window: as the file is first seen. */
  reset(): void {
    this.#fitted = true;
    this.#camera = cameras.upright(this.#scene());
    this.#shade((greys) => greys.reset());
    this.#place();
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
    const { facts, greys, image } = this.#picture;
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || row < 0 || column >= facts.columns || row >= facts.rows) return null;
    const pixel = image.getPixelData()[row * facts.columns + column]!;
    return { column, row, ...greys.values(pixel) };
  }

  shown(): Shown {
    const { inverted = false, notes = [] } = this.#picture?.greys ?? {};
    const { scale, flipH, flipV } = this.#camera;
    const edges = cameras.edges(this.facts?.patientOrientation ?? null, this.#camera);
    return { greys: this.#picture?.greys.says() ?? '', notes, zoom: scale, inverted, flipH, flipV, edges };
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
    const held = (this.viewport as unknown as CpuViewport)._cpuFallbackEnabledElement;
    held.viewport.voiLUT = this.#hand(greys);
    this.#render();
  }

  #hand(greys: Greys): Handed {
    return { id: ++this.#handed, table: greys.table() };
  }

  #scene(): Scene {
    const { canvas } = this.viewport;
    const { rows, columns, pixelSpacing, imagerPixelSpacing } = this.facts ?? NOTHING;
    const spacing = displaySpacing(pixelSpacing, imagerPixelSpacing);
    return { rows, columns, spacing, width: canvas.width, height: canvas.height };
  }

  /** Change where one looks, and show it. */
  #see(change: (camera: Camera, scene: Scene) => Camera): void {
    if (this.#picture === null) return;
    this.#camera = change(this.#camera, this.#scene());
    this.#place();
  }

  /** Hand the camera to Cornerstone. */
  #place(): void {
    const { scale, rotation, flipH, flipV } = this.#camera;
    const { viewport } = (this.viewport as unknown as CpuViewport)._cpuFallbackEnabledElement;
    viewport.rotation = rotation;
    viewport.translation = cameras.translation(this.#camera, this.#scene());
    // `scale` is how a CPU camera is zoomed; ICamera's parallelScale ignores the device pixel ratio
    const camera = { scale, flipHorizontal: flipH, flipVertical: flipV };
    this.viewport.setCamera(camera as Partial<Types.ICamera>);
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
    const { canvas } = this.viewport;
    const { width, height } = this.element.getBoundingClientRect();
    const pixels = [width, height].map((css) =>
      Math.max(1, Math.round(css * window.devicePixelRatio)),
    ) as [number, number];
    if (width > 0 && height > 0) this.#density = [pixels[0] / width, pixels[1] / height];
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) {
      [canvas.width, canvas.height] = pixels;
    }
    // sizing forgets it; without it a 2,500-row image shown on 700 rows loses fine lines
    const context = canvas.getContext('2d');
    if (context) context.imageSmoothingQuality = 'high';
  }

  #resized(): void {
    this.#sizeCanvas();
    if (!this.ready) return;
    if (this.#fitted) this.fit();
    else this.#place();
  }

  #render(): void {
    this.viewport.render();
    this.#changed();
  }
}

function nextPaint(element: HTMLElement): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => void requestAnimationFrame(() => resolve());
    element.addEventListener(core.Enums.Events.IMAGE_RENDERED, done, { once: true });
  });
}
