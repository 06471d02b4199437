/**
 * The radiograph on the screen: Cornerstone3D's CPU viewport, and what it needs to be right.
 *
 * CPU rendering everywhere: it needs no WebGL, is fast enough for one image, and is one path to
 * get coordinates right on. Cornerstone sizes its CPU canvas in CSS pixels but converts mouse
 * positions to device pixels, so this module sizes the canvas itself; and its own zoom and window
 * tools are replaced in rois.ts by ones that use the functions here.
 */

import * as core from '@cornerstonejs/core';
import type { Types } from '@cornerstonejs/core';
import { metaDataProvider } from '@cornerstonejs/dicom-image-loader/wadouri/metaData/index';
import { init as initTools } from '@cornerstonejs/tools';
import type { ImageFacts, ViewFacts } from './annotation.ts';
import { registerDecoder } from './decode.ts';
import type { DecodeThread } from './decode.ts';
import { ImageError } from './file.ts';
import { pixelToWorld, worldToPixel } from './geometry.ts';
import type { Plane, Point, Vector } from './geometry.ts';
import type { Greys } from './greys.ts';
import { planeOf, release } from './picture.ts';
import type { Picture } from './picture.ts';
import type { Preset } from './windows.ts';

export const ENGINE = 'cxr';
export const VIEWPORT = 'radiograph';
const BACKEND = 'cpu';
/** Priority of our image plane before the one read from the file. */
const FIRST = 10_000;

/** What the CPU viewport keeps to itself in 5.14 and no method sets. */
interface CpuViewport {
  readonly _cpuFallbackEnabledElement: { viewport: { voiLUT?: Handed } };
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
}

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
    core.Settings.getRuntimeSettings().set('useCursors', false); // they are blob images; CSS does it
    this.thread = await registerDecoder();
    // The parts of the loader, not its front door: that brings every codec a second time, and reads
    // files with dcmjs, which in 5.14 knows no deflated transfer syntax; these use dicom-parser.
    core.metaData.addProvider(metaDataProvider);
    const { IMAGE_PLANE } = core.Enums.MetadataModules;
    core.metaData.addProvider(
      (type: string, id: string) => (type === IMAGE_PLANE ? this.#planes.get(id) : undefined),
      FIRST,
    );
    initTools(); // before the element is enabled, or its mouse events reach no tool
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
    Object.assign(image, { voiLUT: this.#hand(greys) });
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

  /** Fit the image, show its default window, undo invert. */
  reset(): void {
    this.viewport.resetCamera();
    this.#fitted = true;
    this.#shade((greys) => greys.reset());
  }

  usePreset(name: Preset): void {
    this.#shade((greys) => greys.use(name));
  }

  /** Drag by (right, down) CSS pixels: wider, and darker. */
  dragWindow(right: number, down: number): void {
    this.#shade((greys) => greys.drag(right, down));
  }

  toggleInvert(): void {
    this.#shade((greys) => greys.toggleInvert());
  }

  /** Zoom by a factor, keeping what lies at `anchor` (CSS pixels in the element) where it is. */
  zoom(factor: number, anchor: Point): void {
    const { viewport } = this;
    const before = viewport.getZoom();
    const fit = this.#fitScale();
    const scale = Math.min(Math.max(before * factor, fit / 4), Math.max(fit * 40, 32));
    const held = viewport.canvasToWorld([anchor[0], anchor[1]]);
    const focal = viewport.getCamera().focalPoint ?? held;
    const k = before / scale;
    const focalPoint = held.map((h, i) => h + (focal[i]! - h) * k) as Types.Point3;
    this.#fitted = false;
    // `scale` is how a CPU camera is zoomed; ICamera's parallelScale ignores the device pixel ratio
    viewport.setCamera({ focalPoint, scale } as Partial<Types.ICamera>);
    this.#render();
  }

  /** Move the image by (right, down) CSS pixels. */
  pan(right: number, down: number): void {
    const { viewport } = this;
    const { clientWidth, clientHeight } = this.element;
    const focalPoint = viewport.canvasToWorld([clientWidth / 2 - right, clientHeight / 2 - down]);
    this.#fitted = false;
    viewport.setCamera({ focalPoint });
    this.#render();
  }

  toPixel(world: Vector): Point {
    return worldToPixel(world, this.#plane(), BACKEND);
  }

  toWorld(pixel: Point): Vector {
    return pixelToWorld(pixel, this.#plane(), BACKEND);
  }

  /** Image pixels to CSS pixels in the element. */
  toScreen(pixel: Point): Point {
    return this.viewport.worldToCanvas([...this.toWorld(pixel)]) as [number, number];
  }

  shown(): Shown {
    const zoom = this.viewport.getZoom() / window.devicePixelRatio;
    const { inverted = false, notes = [] } = this.#picture?.greys ?? {};
    return { greys: this.#picture?.greys.says() ?? '', notes, zoom, inverted };
  }

  view(): ViewFacts | null {
    if (this.#picture === null) return null;
    const { greys } = this.#picture;
    const camera = this.viewport.getCamera();
    return {
      window: greys.window,
      invert: greys.inverted,
      flipH: camera.flipHorizontal ?? false,
      flipV: camera.flipVertical ?? false,
      rotation: 0,
      backend: BACKEND,
    };
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

  #plane(): Plane {
    const given = this.viewport.getImageData() as Types.CPUIImageData;
    const d = [...given.direction] as number[];
    return {
      origin: given.origin as unknown as Vector,
      spacing: [given.spacing[0], given.spacing[1]],
      columnAxis: [d[0]!, d[1]!, d[2]!],
      rowAxis: [d[3]!, d[4]!, d[5]!],
    };
  }

  #fitScale(): number {
    const { canvas } = this.viewport;
    const { rows, columns } = this.facts ?? { rows: 1, columns: 1 };
    return Math.min(canvas.width / columns, canvas.height / rows);
  }

  #sizeCanvas(): void {
    const { canvas } = this.viewport;
    const { width, height } = this.element.getBoundingClientRect();
    const pixels = [width, height].map((css) =>
      Math.max(1, Math.round(css * window.devicePixelRatio)),
    ) as [number, number];
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
    if (this.#fitted) this.viewport.resetCamera();
    this.#render();
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
