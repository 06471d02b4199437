/**
 * A region while it is being drawn: what presses, moves and releases of a button make of it.
 *
 * Rectangles, ellipses and lengths may be dragged, or clicked twice; a polygon takes a click a
 * vertex, and ends at its first one, with a double click or when it is told to; a freehand line ends
 * with the button.
 */

import type { RoiType } from './annotation.ts';
import { distance, simplify } from './geometry.ts';
import type { Point } from './geometry.ts';
import { ellipseAround } from './shapes.ts';
import type { Shape } from './shapes.ts';

export type DrawTool = Exclude<RoiType, 'point'> | 'freehand';

/** Screen pixels: within this of a point, one means the point. */
const CLOSE = 10;
/** Screen pixels: a button released within this was clicked, not dragged. */
const STILL = 4;
/** Vertices of a polygon. */
export const FEWEST = 3;
/** Image pixels that a freehand line may move when points are left out. */
const TOLERANCE = 0.5;

export class Sketch {
  readonly tool: DrawTool;
  readonly #toScreen: (pixel: Point) => Point;
  #points: Point[];
  #hover: Point;
  #done = false;
  /** clicked, so that the other end follows the pointer until the next click */
  #clicked = false;

  /** Args: at: the image pixel under the first press; toScreen: where pixels lie, to tell near from far. */
  constructor(tool: DrawTool, at: Point, toScreen: (pixel: Point) => Point) {
    this.tool = tool;
    this.#toScreen = toScreen;
    this.#points = [at];
    this.#hover = at;
  }

  /** Another press of the button. */
  press(at: Point): void {
    this.#hover = at;
    if (this.tool !== 'polygon') {
      this.#done ||= this.#clicked;
      return;
    }
    const first = this.#points[0]!;
    const last = this.#points.at(-1)!;
    const enough = this.#points.length >= FEWEST;
    if (enough && (this.#within(at, first, CLOSE) || this.#within(at, last, STILL))) this.#done = true;
    else if (!this.#within(at, last, STILL)) this.#points.push(at);
  }

  move(at: Point): void {
    this.#hover = at;
    if (this.tool === 'freehand' && distance(at, this.#points.at(-1)!) > 0) this.#points.push(at);
  }

  release(at: Point): void {
    this.move(at);
    if (this.tool === 'freehand') this.#done = true;
    else if (this.tool !== 'polygon' && !this.#done) {
      if (this.#within(at, this.#points[0]!, STILL)) this.#clicked = true;
      else this.#done = true;
    }
  }

  /** Take back a polygon's last vertex; false if none is left to take. */
  back(): boolean {
    if (this.tool !== 'polygon' || this.#points.length < 2) return false;
    this.#points.pop();
    return true;
  }

  /** End a polygon as it is; false if it is none, or has too few vertices. */
  close(): boolean {
    if (this.tool !== 'polygon' || this.#points.length < FEWEST) return false;
    this.#done = true;
    return true;
  }

  /** Vertices set so far. */
  get vertices(): number {
    return this.#points.length;
  }

  get done(): boolean {
    return this.#done;
  }

  /** The region as it is so far; once done, as it stays. */
  get shape(): Shape {
    const first = this.#points[0]!;
    switch (this.tool) {
      case 'ellipse':
        return { type: 'ellipse', points: ellipseAround(first, this.#hover) };
      case 'polygon':
        return { type: 'polygon', points: this.#done ? this.#points : [...this.#points, this.#hover] };
      case 'freehand':
        return { type: 'polygon', points: this.#done ? simplify(this.#points, TOLERANCE) : this.#points };
      default:
        return { type: this.tool, points: [first, this.#hover] };
    }
  }

  #within(a: Point, b: Point, reach: number): boolean {
    return distance(this.#toScreen(a), this.#toScreen(b)) <= reach;
  }
}
