/**
 * Regions as plain points: their outlines, the handles one grabs, what dragging makes of them.
 *
 * Everything in image pixels, so that nothing depends on how the image lies on the screen.
 */

import { ROI_POINTS } from './annotation.ts';
import type { RoiType } from './annotation.ts';
import { corners, distanceToSegment } from './geometry.ts';
import type { Point } from './geometry.ts';
import { finite } from './given.ts';
import type { Given } from './given.ts';

export interface Shape {
  readonly type: RoiType;
  /**
   * rectangle: two opposite corners; ellipse: the ends of two diameters; polygon: an open ring;
   * length: two ends; point: one.
   */
  readonly points: readonly Point[];
}

/** Corners of the many-sided figure an ellipse is drawn as: 0.1 pixels off at a radius of 400. */
const SIDES = 128;

/** Read a region's type and points; null if it is of no known type, or has too few or many points. */
export function readShape(given: Given): Shape | null {
  const { type, points } = given;
  if (!isType(type) || !Array.isArray(points)) return null;
  const [fewest, most] = ROI_POINTS[type];
  if (points.length < fewest || points.length > most || !points.every(isPoint)) return null;
  return { type, points };
}

function isType(given: unknown): given is RoiType {
  return typeof given === 'string' && Object.hasOwn(ROI_POINTS, given); // "constructor" is none
}

function isPoint(given: unknown): given is Point {
  return Array.isArray(given) && given.length === 2 && given.every((one) => finite(one) !== null);
}

/** Whether an outline leads back to its first point. */
export function closed(type: RoiType): boolean {
  return type !== 'length' && type !== 'point';
}

/** The points that a line along the region goes through. */
export function outline({ type, points }: Shape): readonly Point[] {
  if (type === 'rectangle') return ring(points);
  const axes = type === 'ellipse' ? diameters(points) : null;
  if (axes === null) return points;
  const { centre, u, v } = axes;
  return Array.from({ length: SIDES }, (_, i): Point => {
    const angle = (2 * Math.PI * i) / SIDES;
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    return [centre[0] + u[0] * cos + v[0] * sin, centre[1] + u[1] * cos + v[1] * sin];
  });
}

/** The points that can be dragged. */
export function handles({ type, points }: Shape): readonly Point[] {
  return type === 'rectangle' ? ring(points) : points;
}

/** The region with one of its handles elsewhere. */
export function reshape(shape: Shape, handle: number, to: Point): Shape {
  const { type, points } = shape;
  if (type === 'rectangle') return { type, points: [ring(points)[(handle + 2) % 4]!, to] };
  const axes = type === 'ellipse' ? diameters(points) : null;
  if (axes === null) return { type, points: points.map((p, i) => (i === handle ? to : p)) };
  const { centre, u, v } = axes;
  const axis = handle < 2 ? u : v;
  // the end follows as far as its axis leads, and the other end mirrors it
  const share = dot(minus(to, centre), axis) / (dot(axis, axis) || 1);
  const size = Math.max(Math.abs(share), 1e-3);
  const end = (sign: number): Point => [centre[0] + sign * axis[0] * size, centre[1] + sign * axis[1] * size];
  const pair = [end(-1), end(1)];
  return { type, points: handle < 2 ? [...pair, ...points.slice(2)] : [...points.slice(0, 2), ...pair] };
}

export function moved({ type, points }: Shape, by: Point): Shape {
  return { type, points: points.map((p): Point => [p[0] + by[0], p[1] + by[1]]) };
}

/** An ellipse from its centre to the corner of the box around it. */
export function ellipseAround(centre: Point, corner: Point): readonly Point[] {
  const [x, y] = centre;
  const [dx, dy] = [Math.abs(corner[0] - x), Math.abs(corner[1] - y)];
  return [[x, y - dy], [x, y + dy], [x - dx, y], [x + dx, y]]; // prettier-ignore
}

/** How far a point is from the line along a region; both in the unit of `line`. */
export function distanceTo(line: readonly Point[], isClosed: boolean, point: Point): number {
  const next = (i: number): Point => line[i + 1] ?? (isClosed ? line[0]! : line[i]!);
  return Math.min(Infinity, ...line.map((from, i) => distanceToSegment(point, from, next(i))));
}

function ring(points: readonly Point[]): readonly Point[] {
  const [[left, top], [right, bottom]] = corners(points);
  return [[left, top], [right, top], [right, bottom], [left, bottom]]; // prettier-ignore
}

function diameters([a, b, c, d]: readonly Point[]): { centre: Point; u: Point; v: Point } | null {
  if (!a || !b || !c || !d) return null;
  const half = (from: Point, to: Point): Point => [(to[0] - from[0]) / 2, (to[1] - from[1]) / 2];
  const u = half(a, b);
  return { centre: [a[0] + u[0], a[1] + u[1]], u, v: half(c, d) };
}

const minus = (a: Point, b: Point): Point => [a[0] - b[0], a[1] - b[1]];
const dot = (a: Point, b: Point): number => a[0] * b[0] + a[1] * b[1];
