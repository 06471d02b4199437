/**
 * A picture's greys on a canvas: made once for each window, drawn for each place of the camera.
 */

import type { Picture } from './picture.ts';
import { rgba } from './rgba.ts';

export class Painter {
  readonly #canvas = document.createElement('canvas');
  #data: ImageData | null = null;
  #picture: Picture | null = null;
  /** the greys that `#source` is drawn with */
  #table: Uint8ClampedArray = new Uint8ClampedArray();
  #source: CanvasImageSource | null = null;

  /** Draw this picture from now on. */
  take(picture: Picture): void {
    this.#picture = picture;
    this.#source = picture.drawn;
    this.#table = picture.drawn === null ? new Uint8ClampedArray() : picture.greys.table();
    this.shade();
  }

  /** The picture's greys may have changed. */
  shade(): void {
    if (this.#picture === null) return;
    const { facts, greys, pixels } = this.#picture;
    const table = greys.table();
    if (table.length === this.#table.length && table.every((grey, i) => grey === this.#table[i])) return;
    const context = this.#sized(facts.columns, facts.rows);
    this.#data ??= context.createImageData(facts.columns, facts.rows);
    rgba(pixels, table, greys.least, this.#data.data);
    context.putImageData(this.#data, 0, 0);
    this.#source = this.#canvas;
    this.#table = table;
  }

  /** Args: matrix: image pixels to canvas pixels. */
  paint(context: CanvasRenderingContext2D, matrix: DOMMatrix2DInit): void {
    const { width, height } = context.canvas;
    context.resetTransform();
    context.fillStyle = '#000';
    context.fillRect(0, 0, width, height);
    if (this.#source === null) return;
    context.setTransform(matrix);
    context.imageSmoothingQuality = 'high'; // or a 2,500-row image on 700 rows loses fine lines
    context.drawImage(this.#source, 0, 0);
  }

  #sized(width: number, height: number): CanvasRenderingContext2D {
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
      this.#data = null;
    }
    const context = this.#canvas.getContext('2d', { alpha: false });
    if (!context) throw new Error('this browser gives no canvas');
    return context;
  }
}
