/**
 * Greys as a canvas wants them.
 */

/** Whether this machine puts the lowest byte first; all that run browsers do. */
const LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/**
 * Fill red, green, blue and alpha; Args: table: the grey of each value from `least` up; into: four
 * bytes a pixel.
 */
export function rgba(
  pixels: ArrayLike<number>,
  table: Uint8ClampedArray,
  least: number,
  into: Uint8ClampedArray,
): void {
  const opaque = LITTLE ? 0xff000000 : 0x000000ff;
  const words = new Uint32Array(table.length);
  for (let i = 0; i < table.length; i++) {
    const grey = table[i]!;
    words[i] = (LITTLE ? (grey << 16) | (grey << 8) | grey : (grey << 24) | (grey << 16) | (grey << 8)) | opaque;
  }
  const out = new Uint32Array(into.buffer, into.byteOffset, into.length / 4);
  for (let i = 0; i < out.length; i++) out[i] = words[pixels[i]! - least]!;
}
