/**
 * Lengths and areas, from the file's own spacing.
 *
 * Pixel Spacing counts as millimetres in the patient, unless it only repeats Imager Pixel Spacing:
 * that is measured at the detector, where everything is a little larger (PS3.3 10.7.1.1).
 */

import type { RoiType } from './annotation.ts';
import { usable } from './geometry.ts';
import type { Point } from './geometry.ts';

export interface Scale {
  /** size of a pixel: [between rows, between columns] */
  readonly spacing: readonly [number, number];
  readonly unit: 'mm' | 'px';
  /** measured at the detector, not in the patient */
  readonly detector: boolean;
}

interface Spacings {
  readonly pixelSpacing: readonly number[] | null;
  readonly imagerPixelSpacing: readonly number[] | null;
}

export function scaleOf({ pixelSpacing, imagerPixelSpacing }: Spacings): Scale {
  const [pixel, imager] = [usable(pixelSpacing), usable(imagerPixelSpacing)];
  const repeats = pixel !== null && imager !== null && pixel.every((mm, i) => mm === imager[i]);
  if (pixel !== null && !repeats) return { spacing: pixel, unit: 'mm', detector: false };
  if (imager !== null) return { spacing: imager, unit: 'mm', detector: true };
  return { spacing: [1, 1], unit: 'px', detector: false };
}

/** The distance of two image pixels. */
export function length(a: Point, b: Point, { spacing: [row, column] }: Scale): number {
  return Math.hypot((b[0] - a[0]) * column, (b[1] - a[1]) * row);
}

/** Args: type, points: of a region as drawn. Lengths and points have no area. */
export function area(type: RoiType, points: readonly Point[], { spacing: [row, column] }: Scale): number {
  return pixels(type, points) * row * column;
}

/** What to write beside a region: "12.3 mm", "4.56 cm² (detector)", "120 px²"; "" for a point. */
export function says(type: RoiType, points: readonly Point[], scale: Scale): string {
  const [a, b] = points;
  if (type === 'point' || a === undefined || b === undefined) return '';
  const where = scale.detector ? ' (detector)' : '';
  if (type === 'length') return `${digits(length(a, b, scale))} ${scale.unit}${where}`;
  const size = area(type, points, scale);
  if (scale.unit === 'px') return `${digits(size)} px²`;
  return (size >= 100 ? `${digits(size / 100)} cm²` : `${digits(size)} mm²`) + where;
}

/** In pixels: a shape's area in millimetres is this times the area of a pixel, however it lies. */
function pixels(type: RoiType, points: readonly Point[]): number {
  const [a, b, c, d] = points;
  if (!a || !b) return 0;
  if (type === 'rectangle') return Math.abs((b[0] - a[0]) * (b[1] - a[1]));
  if (type === 'polygon') {
    return Math.abs(points.reduce((sum, p, i) => sum + cross(p, points[(i + 1) % points.length]!), 0)) / 2;
  }
  if (type !== 'ellipse' || !c || !d) return 0;
  const [u, v]: [Point, Point] = [[b[0] - a[0], b[1] - a[1]], [d[0] - c[0], d[1] - c[1]]]; // prettier-ignore
  return (Math.PI / 4) * Math.abs(cross(u, v));
}

/** Three digits that count, and never fewer than the whole units. */
function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2);
}

const cross = (a: Point, b: Point): number => a[0] * b[1] - a[1] * b[0];
