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
import { loadImage } from '@cornerstonejs/dicom-image-loader/wadouri/loadImage';
import { metaDataProvider } from '@cornerstonejs/dicom-image-loader/wadouri/metaData/index';
import { init as initTools } from '@cornerstonejs/tools';
import type { ImageFacts, ViewFacts } from './annotation.ts';
import { registerDecoder } from './decode.ts';
import type { DecodeThread } from './decode.ts';
import { readHeader } from './dicom.ts';
import type { Header } from './dicom.ts';
import { displaySpacing, pixelToWorld, worldToPixel } from './geometry.ts';
import type { Plane, Point, Vector } from './geometry.ts';
import * as windows from './windows.ts';
import type { Preset, Range } from './windows.ts';

export const ENGINE = 'cxr';
export const VIEWPORT = 'radiograph';
const BACKEND = 'cpu';
/** Priority of our image plane before the one read from the file. */
const FIRST = 10_000;

/** What the CPU viewport keeps to itself in 5.14 and no method sets. */
interface CpuViewport {
  readonly _cpuFallbackEnabledElement: { viewport: { voiLUT?: unknown } };
}

/** A sentence the reader can act on. */
export class ImageError extends Error {}

export interface Shown {
  readonly centre: number;
  readonly width: number;
  /** screen pixels per image pixel */
  readonly zoom: number;
  readonly inverted: boolean;
}

export class Radiograph {
  readonly element: HTMLDivElement;
  thread: DecodeThread = 'main';
  facts: ImageFacts | null = null;
  #viewport: Types.IStackViewport | null = null;
  #image: Types.IImage | null = null;
  #base: Range = { lower: 0, upper: 255 };
  #full: Range = { lower: 0, upper: 255 };
  #voiLut: unknown = undefined;
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
    core.registerImageLoader('dicomfile', loadImage);
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
    let image: Types.IImage;
    try {
      image = await core.imageLoader.loadAndCacheImage(imageId);
    } catch (error) {
      throw new ImageError(`it could not be decoded (${reason(error)})`);
    }
    this.facts = header.facts;
    this.#image = image;
    this.#readWindows(image, header);
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
    return this.#image !== null;
  }

  /** Fit the image, show its default window, undo invert. */
  reset(): void {
    this.viewport.resetCamera();
    this.#fitted = true;
    this.#setInvert(false);
    this.usePreset('default');
  }

  usePreset(name: Preset): void {
    const range = windows.preset(name, this.#base, this.#full, this.#storedInverted);
    this.#setRange(range, name === 'default' ? this.#voiLut : undefined);
  }

  /** Drag by (right, down) CSS pixels: wider, and darker. */
  dragWindow(right: number, down: number): void {
    const step = Math.max((this.#base.upper - this.#base.lower) / 512, 0.05);
    const darker = this.#storedInverted ? -down : down;
    this.#setRange(windows.adjust(this.#range, right * step, darker * step), undefined);
  }

  toggleInvert(): void {
    this.#setInvert(!this.#inverted);
    this.#render();
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
    const [centre, width] = windows.toCentreWidth(this.#range);
    const zoom = this.viewport.getZoom() / window.devicePixelRatio;
    return { centre, width, zoom, inverted: this.#inverted };
  }

  view(): ViewFacts | null {
    if (!this.ready) return null;
    const camera = this.viewport.getCamera();
    return {
      window: windows.toCentreWidth(this.#range),
      invert: this.#inverted,
      flipH: camera.flipHorizontal ?? false,
      flipV: camera.flipVertical ?? false,
      rotation: 0,
      backend: BACKEND,
    };
  }

  /** Larger stored values are darker; the viewport's `invert` starts from this, not from false. */
  get #storedInverted(): boolean {
    return this.facts?.photometric === 'MONOCHROME1';
  }

  get #inverted(): boolean {
    const { invert } = this.viewport.getProperties();
    return (invert ?? false) !== this.#storedInverted;
  }

  get #range(): Range {
    return this.viewport.getProperties().voiRange ?? this.#base;
  }

  #setInvert(inverted: boolean): void {
    this.viewport.setProperties({ invert: inverted !== this.#storedInverted });
  }

  #setRange(range: Range, voiLut: unknown): void {
    // a VOI LUT wins over any window in the CPU path and cannot be unset by a property
    const held = (this.viewport as unknown as CpuViewport)._cpuFallbackEnabledElement;
    held.viewport.voiLUT = voiLut;
    this.viewport.setProperties({ voiRange: { ...range } });
    this.#render();
  }

  #readWindows(image: Types.IImage, header: Header): void {
    this.#full = percentiles(image.getPixelData() as ArrayLike<number>, image);
    this.#voiLut = (image as { voiLUT?: unknown }).voiLUT;
    this.#base = header.window === null ? this.#full : windows.fromCentreWidth(...header.window);
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

function percentiles(pixels: ArrayLike<number>, image: Types.IImage): Range {
  // preScale: Cornerstone applied the modality LUT to the pixels; otherwise apply it here
  const range = windows.percentiles(pixels);
  if (image.preScale?.scaled ?? false) return range;
  const ends = [range.lower, range.upper].map((v) => v * image.slope + image.intercept);
  return { lower: Math.min(...ends), upper: Math.max(...ends) };
}

/** Fetch here rather than in the loader, so that what went wrong can be said. */
async function fetchDicom(url: string): Promise<ArrayBuffer> {
  let response: Response;
  try {
    response = await fetch(url, { credentials: 'same-origin', referrerPolicy: 'no-referrer' });
  } catch {
    throw new ImageError('its server cannot be reached');
  }
  if (response.status === 401 || response.status === 403) {
    throw new ImageError(`its link has expired or was refused (${response.status})`);
  }
  if (!response.ok) throw new ImageError(`its server answered ${response.status}`);
  try {
    return await response.arrayBuffer();
  } catch {
    throw new ImageError('it arrived only in part');
  }
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

/** Read the header and refuse what is not one grey frame. */
function check(bytes: ArrayBuffer): Header {
  let header: Header;
  try {
    header = readHeader(new Uint8Array(bytes));
  } catch {
    throw new ImageError('the file is not a readable DICOM file');
  }
  if (header.samplesPerPixel !== 1) throw new ImageError('it is a colour image, not a radiograph');
  if (header.frames > 1) throw new ImageError(`it has ${header.frames} frames, not one`);
  return header;
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
