/**
 * Where an image pixel lies on the screen, and back: zoomed, moved, flipped, turned.
 *
 * Own maths, because what is exported must be what was drawn. The image is flipped first (along its
 * own axes), then stretched to square millimetres, then turned clockwise. Screen positions are in
 * canvas pixels; nothing here knows Cornerstone or the DOM.
 */

import type { Point } from './geometry.ts';

export type Rotation = 0 | 90 | 180 | 270;

export interface Camera {
  /** the image pixel in the middle of the screen */
  readonly centre: Point;
  /** canvas pixels per image pixel, along the axis with the smaller spacing */
  readonly scale: number;
  /** degrees clockwise, after the flips */
  readonly rotation: Rotation;
  readonly flipH: boolean;
  readonly flipV: boolean;
}

/** What a camera looks at, and through. */
export interface Scene {
  readonly columns: number;
  readonly rows: number;
  /** mm (or anything) per pixel: [between rows, between columns], as DICOM has it */
  readonly spacing: readonly [number, number];
  /** canvas pixels */
  readonly width: number;
  readonly height: number;
}

/** [a, b, c, d]: a step of (x, y) image pixels is one of (a x + c y, b x + d y) canvas pixels. */
type Linear = readonly [number, number, number, number];

/** How far one may zoom out, as a part of fitting, and in, as a multiple of it or in itself. */
const OUT = 1 / 4;
const IN = 40;
const IN_SCALE = 32;

/** How much wider and higher a pixel is than its smaller side: square millimetres on the screen. */
export function stretch([row, column]: readonly [number, number]): Point {
  return [Math.max(column / row, 1), Math.max(row / column, 1)];
}

export function toCanvas(pixel: Point, camera: Camera, scene: Scene): Point {
  const [a, b, c, d] = linear(camera, scene);
  const [x, y] = [pixel[0] - camera.centre[0], pixel[1] - camera.centre[1]];
  return [scene.width / 2 + a * x + c * y, scene.height / 2 + b * x + d * y];
}

export function toImage(canvas: Point, camera: Camera, scene: Scene): Point {
  const [a, b, c, d] = linear(camera, scene);
  const [x, y] = [canvas[0] - scene.width / 2, canvas[1] - scene.height / 2];
  const area = a * d - b * c;
  return [camera.centre[0] + (d * x - c * y) / area, camera.centre[1] + (a * y - b * x) / area];
}

/** The whole image, as large as the screen holds it; flips and turns stay. */
export function fit(camera: Camera, scene: Scene): Camera {
  return { ...camera, centre: [scene.columns / 2, scene.rows / 2], scale: fitScale(camera.rotation, scene) };
}

/** As a file is first seen. */
export function upright(scene: Scene): Camera {
  return fit({ centre: [0, 0], scale: 1, rotation: 0, flipH: false, flipV: false }, scene);
}

/** Zoom by a factor, within reason, keeping what lies at `anchor` (canvas pixels) where it is. */
export function zoomAt(camera: Camera, scene: Scene, factor: number, anchor: Point): Camera {
  const whole = fitScale(camera.rotation, scene);
  const [least, most] = [Math.min(whole * OUT, 1), Math.max(whole * IN, IN_SCALE)];
  const scale = Math.min(Math.max(camera.scale * factor, least), most);
  const held = toImage(anchor, camera, scene);
  const k = camera.scale / scale;
  const centre: Point = [
    held[0] + (camera.centre[0] - held[0]) * k,
    held[1] + (camera.centre[1] - held[1]) * k,
  ];
  return { ...camera, scale, centre };
}

/** Move the image by canvas pixels to the right and down; its middle half stays within reach. */
export function pan(camera: Camera, scene: Scene, right: number, down: number): Camera {
  const [x, y] = toImage([scene.width / 2 - right, scene.height / 2 - down], camera, scene);
  const within = (value: number, size: number): number => Math.min(Math.max(value, 0), size);
  return { ...camera, centre: [within(x, scene.columns), within(y, scene.rows)] };
}

/** Turn what is seen by a quarter, clockwise or (-1) back. */
export function turn(camera: Camera, quarter: 1 | -1): Camera {
  return { ...camera, rotation: ((camera.rotation + 90 * quarter + 360) % 360) as Rotation };
}

/** Mirror what is seen: left and right, or top and bottom, as it lies on the screen. */
export function flip(camera: Camera, axis: 'h' | 'v'): Camera {
  const sideways = camera.rotation % 180 === 90;
  const ofImage = sideways ? { h: 'v', v: 'h' }[axis] : axis;
  return ofImage === 'h' ? { ...camera, flipH: !camera.flipH } : { ...camera, flipV: !camera.flipV };
}

/** What a canvas needs to draw the image so: image pixels to canvas pixels. */
export function matrix(camera: Camera, scene: Scene): DOMMatrix2DInit {
  const [a, b, c, d] = linear(camera, scene);
  const [e, f] = toCanvas([0, 0], camera, scene);
  return { a, b, c, d, e, f };
}

/** The directions that the four edges of the screen face, such as "L"; "" where the file says none. */
export interface Edges {
  readonly left: string;
  readonly right: string;
  readonly top: string;
  readonly bottom: string;
}

const OPPOSITE: Readonly<Record<string, string>> = { L: 'R', R: 'L', A: 'P', P: 'A', H: 'F', F: 'H' };

/** Args: orientation: Patient Orientation (0020,0020): where rows and where columns lead to. */
export function edges(orientation: readonly string[] | null, camera: Camera): Edges {
  const [row = '', column = ''] = orientation ?? [];
  const [rowTo, rowFrom] = ends(row, camera.flipH);
  const [columnTo, columnFrom] = ends(column, camera.flipV);
  const around = [rowTo, columnTo, rowFrom, columnFrom]; // right, bottom, left, top of the image
  const at = (side: number): string => around[(side - camera.rotation / 90 + 4) % 4]!;
  return { right: at(0), bottom: at(1), left: at(2), top: at(3) };
}

function ends(towards: string, flipped: boolean): [string, string] {
  const to = towards.toUpperCase();
  if (!/^[LRAPHF]{1,3}$/.test(to)) return ['', ''];
  const from = [...to].map((letter) => OPPOSITE[letter]).join('');
  return flipped ? [from, to] : [to, from];
}

function fitScale(rotation: Rotation, scene: Scene): number {
  const [sx, sy] = stretch(scene.spacing);
  const size: Point = [scene.columns * sx, scene.rows * sy];
  const [width, height] = rotation % 180 === 90 ? [size[1], size[0]] : size;
  return Math.min(scene.width / width, scene.height / height);
}

function linear({ scale, rotation, flipH, flipV }: Camera, { spacing }: Scene): Linear {
  const [sx, sy] = stretch(spacing);
  const [x, y] = [scale * sx * (flipH ? -1 : 1), scale * sy * (flipV ? -1 : 1)];
  const [cos, sin] = turned(rotation);
  return [cos * x, sin * x, -sin * y, cos * y];
}

/** Cosine and sine, exactly. */
function turned(rotation: Rotation): readonly [number, number] {
  return ({ 0: [1, 0], 90: [0, 1], 180: [-1, 0], 270: [0, -1] } as const)[rotation];
}
