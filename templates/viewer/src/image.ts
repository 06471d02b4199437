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
import fileManager from '@cornerstonejs/dicom-image-loader/wadouri/fileManager';
import dataSets from '@cornerstonejs/dicom-image-loader/wadouri/dataSetCacheManager';
import { getLoaderForScheme, loadImageFromDataSet } from '@cornerstonejs/dicom-image-loader/wadouri/loadImage';
import { metaDataProvider } from '@cornerstonejs/dicom-image-loader/wadouri/metaData/index';
import { init as initTools } from '@cornerstonejs/tools';
import type { ImageFacts, ViewFacts } from './annotation.ts';
import { registerDecoder } from './decode.ts';
import type { DecodeThread } from './decode.ts';
import { check, fetchDicom, ImageError } from './file.ts';
import { displaySpacing, pixelToWorld, worldToPixel } from './geometry.ts';
import type { Plane, Point, Vector } from './geometry.ts';
import { Greys } from './greys.ts';
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
  facts: ImageFacts | null = null;
  #viewport: Types.IStackViewport | null = null;
  #greys: Greys | null = null;
  #handed = 0;
  #fitted = true;
  #coming: Promise<ArrayBuffer> | null = null;
  readonly #changed: () => void;
  readonly #planes = new Map<string, object>();

  /** Args: changed: called after every change of window, zoom or position. */
  constructor(element: HTMLDivElement, changed: () => void) {
    this.element = element;
    this.#changed = changed;
  }

  /** Start Cornerstone once; an image is shown by `load`. */
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

  /** Begin to fetch what the next `load` will show, while the viewer starts. */
  prefetch(url: string): void {
    this.#coming = fetchDicom(url);
    this.#coming.catch(() => undefined); // `load` says what went wrong
  }

  /** Args: url: of a DICOM Part 10 file. Throws ImageError. Resolves once it is painted. */
  async load(url: string): Promise<void> {
    const coming = this.#coming ?? fetchDicom(url);
    this.#coming = null;
    const bytes = await coming;
    const header = check(bytes);
    const imageId = fileManager.add(new File([bytes], 'image.dcm'));
    this.#planes.set(imageId, planeOf(header.facts));
    const image = await decode(imageId, header.facts);
    const { minPixelValue: least, maxPixelValue: most } = image;
    const greys = new Greys(header.chain, image.getPixelData(), least, most);
    // its own reading of these is wrong, and a function it does not know makes it throw
    Object.assign(image, { voiLUTFunction: undefined, modalityLUT: undefined, voiLUT: this.#hand(greys) });
    core.cache.putImageSync(imageId, image);
    this.facts = header.facts;
    this.#greys = greys;
    this.#sizeCanvas();
    const painted = nextPaint(this.element);
    await this.viewport.setStack([imageId]);
    this.reset();
    await painted;
  }

  get viewport(): Types.IStackViewport {
    if (this.#viewport === null) throw new ImageError('the viewer has not started');
    return this.#viewport;
  }

  get ready(): boolean {
    return this.#greys !== null;
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

  /** Image pixels to CSS pixels in the element. */
  toScreen(pixel: Point): Point {
    const world = pixelToWorld(pixel, this.#plane(), BACKEND);
    return this.viewport.worldToCanvas([...world]) as [number, number];
  }

  shown(): Shown {
    const zoom = this.viewport.getZoom() / window.devicePixelRatio;
    const { inverted = false, notes = [] } = this.#greys ?? {};
    return { greys: this.#greys?.says() ?? '', notes, zoom, inverted };
  }

  view(): ViewFacts | null {
    if (this.#greys === null) return null;
    const camera = this.viewport.getCamera();
    return {
      window: this.#greys.window,
      invert: this.#greys.inverted,
      flipH: camera.flipHorizontal ?? false,
      flipV: camera.flipVertical ?? false,
      rotation: 0,
      backend: BACKEND,
    };
  }

  /** Change the greys, and show them. */
  #shade(change: (greys: Greys) => void): void {
    if (this.#greys === null) return;
    change(this.#greys);
    const held = (this.viewport as unknown as CpuViewport)._cpuFallbackEnabledElement;
    held.viewport.voiLUT = this.#hand(this.#greys);
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

/**
 * Decode without Cornerstone's cache: that leaves a rejection of its own unhandled when the pixels
 * are damaged, and the loader's front door never settles when they are missing (both 5.14).
 */
async function decode(imageId: string, facts: ImageFacts): Promise<Types.IImage> {
  let image: Types.IImage;
  try {
    const url = imageId.slice(imageId.indexOf(':') + 1);
    const data = await dataSets.load(url, getLoaderForScheme('dicomfile'), imageId);
    const unscaled = { preScale: { enabled: false } };
    image = (await loadImageFromDataSet(data, imageId, 0, url, unscaled).promise) as Types.IImage;
  } catch (error) {
    throw new ImageError(`it could not be decoded (${reason(error)})`);
  }
  const { rows, columns } = facts;
  // some codecs answer damaged data with an image of another size, or none
  if (image.rows !== rows || image.columns !== columns || image.getPixelData().length < rows * columns) {
    throw new ImageError('it could not be decoded (its pixels are damaged or incomplete)');
  }
  return image;
}

/**
 * The image in a world of its own: a radiograph has no place in the patient, and what files say of
 * one (or of their spacing) must not reach the coordinates.
 */
function planeOf(facts: ImageFacts): object {
  const [rowPixelSpacing, columnPixelSpacing] = displaySpacing(
    facts.pixelSpacing,
    facts.imagerPixelSpacing,
  );
  return {
    frameOfReferenceUID: facts.sopUid,
    rows: facts.rows,
    columns: facts.columns,
    imagePositionPatient: [0, 0, 0],
    imageOrientationPatient: [1, 0, 0, 0, 1, 0],
    rowCosines: [1, 0, 0],
    columnCosines: [0, 1, 0],
    pixelSpacing: [rowPixelSpacing, columnPixelSpacing],
    rowPixelSpacing,
    columnPixelSpacing,
  };
}

function nextPaint(element: HTMLElement): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => void requestAnimationFrame(() => resolve());
    element.addEventListener(core.Enums.Events.IMAGE_RENDERED, done, { once: true });
  });
}

function reason(error: unknown): string {
  const inner = error instanceof Error ? error : (error as { error?: unknown } | null)?.error;
  const said = inner instanceof Error ? inner.message : String(inner ?? error);
  return said.slice(0, 200);
}
