/**
 * From where the mouse was to image pixels, and from what was drawn to what is exported.
 *
 * Image pixels: x = column, y = row, (0, 0) the outer top-left corner of the image, so the first
 * pixel's centre is (0.5, 0.5). Nothing here knows the DOM; where pixels lie on the screen, camera.ts says.
 */

export type Point = readonly [number, number];

/** Pixels below which two coordinates are one. */
const TINY = 1e-6;

/** Beyond these a spacing is a mistake, not a detector; cxr.contract.measures has the same. */
const MOST_ANISOTROPIC = 10;
const MOST_MM = 10;

/** A [row, column] spacing if it can be one, or null. Files do come with a PixelSpacing of 0. */
export function usable(spacing: readonly number[] | null): [number, number] | null {
  const [row, column, ...more] = spacing ?? [];
  if (!plausible(row) || !plausible(column) || more.length) return null;
  return Math.max(row, column) / Math.min(row, column) <= MOST_ANISOTROPIC ? [row, column] : null;
}

const plausible = (mm: unknown): mm is number => typeof mm === 'number' && mm > 0 && mm <= MOST_MM;

/** The first spacing of those the file names that can be one, to display by, or square pixels. */
export function displaySpacing(...named: readonly (readonly number[] | null)[]): [number, number] {
  return named.map(usable).find((spacing) => spacing !== null) ?? [1, 1];
}

/** The two opposite corners (smallest, then largest x and y) around any points. */
export function corners(points: readonly Point[]): [Point, Point] {
  const xs = points.map((p) => p[0]);
  const ys = points.map((p) => p[1]);
  return [
    [Math.min(...xs), Math.min(...ys)],
    [Math.max(...xs), Math.max(...ys)],
  ];
}

/**
 * The ends of the major, then of the minor axis (DICOM PS3.3 C.18.6.1.2).
 *
 * The two diameters given may be conjugate rather than perpendicular: a circle in millimetres is
 * an ellipse in pixels where the spacing is anisotropic.
 */
export function ellipseAxes(first: readonly [Point, Point], second: readonly [Point, Point]): Point[] {
  const centre: Point = [
    (first[0][0] + first[1][0] + second[0][0] + second[1][0]) / 4,
    (first[0][1] + first[1][1] + second[0][1] + second[1][1]) / 4,
  ];
  const u: Point = [(first[1][0] - first[0][0]) / 2, (first[1][1] - first[0][1]) / 2];
  const v: Point = [(second[1][0] - second[0][0]) / 2, (second[1][1] - second[0][1]) / 2];
  // the angle t at which u cos t + v sin t is longest
  const t = Math.atan2(2 * (u[0] * v[0] + u[1] * v[1]), lengthSquared(u) - lengthSquared(v)) / 2;
  const axis = (angle: number): Point => {
    const x = u[0] * Math.cos(angle) + v[0] * Math.sin(angle);
    const y = u[1] * Math.cos(angle) + v[1] * Math.sin(angle);
    // each axis runs rightwards, or downwards if upright, however it was drawn
    return x > TINY || (x >= -TINY && y > 0) ? [x, y] : [-x, -y];
  };
  const major = axis(t);
  const minor = axis(t + Math.PI / 2);
  return [minus(centre, major), plus(centre, major), minus(centre, minor), plus(centre, minor)];
}

/**
 * Leave out the points of an open ring that lie within `tolerance` of the rest
 * (Ramer–Douglas–Peucker, from the two points farthest apart, so that the start is not special).
 */
export function simplify(ring: readonly Point[], tolerance: number): Point[] {
  const points = ring.filter((p, i) => i === 0 || distance(p, ring[i - 1]!) > 0);
  if (points.length > 1 && distance(points[0]!, points.at(-1)!) === 0) points.pop();
  if (points.length <= 3) return points;
  const far = farthest(points[0]!, points);
  const half = reduce(points.slice(0, far + 1), tolerance);
  const other = reduce([...points.slice(far), points[0]!], tolerance);
  return [...half.slice(0, -1), ...other.slice(0, -1)];
}

export function clampToImage(point: Point, columns: number, rows: number): Point {
  return [Math.min(Math.max(point[0], 0), columns), Math.min(Math.max(point[1], 0), rows)];
}

/** Two decimals: a hundredth of a pixel is finer than any mouse. */
export function round(point: Point): [number, number] {
  // + 0 turns -0, which JSON would keep apart in some readers, into 0
  return [Math.round(point[0] * 100) / 100 + 0, Math.round(point[1] * 100) / 100 + 0];
}

/** Image pixels on a grid so fine that nobody sees it, where going to and fro changes nothing. */
export function thousandths([x, y]: Point): Point {
  return [Math.round(x * 1000) / 1000, Math.round(y * 1000) / 1000];
}

export function distance(a: Point, b: Point): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

function reduce(line: readonly Point[], tolerance: number): Point[] {
  const first = line[0]!;
  const last = line.at(-1)!;
  let worst = 0;
  let at = 0;
  for (let i = 1; i < line.length - 1; i++) {
    const off = distanceToSegment(line[i]!, first, last);
    if (off > worst) [worst, at] = [off, i];
  }
  if (worst <= tolerance) return [first, last];
  return [
    ...reduce(line.slice(0, at + 1), tolerance).slice(0, -1),
    ...reduce(line.slice(at), tolerance),
  ];
}

export function distanceToSegment(p: Point, a: Point, b: Point): number {
  const ab: Point = [b[0] - a[0], b[1] - a[1]];
  const along = ((p[0] - a[0]) * ab[0] + (p[1] - a[1]) * ab[1]) / (lengthSquared(ab) || 1);
  const t = Math.min(1, Math.max(0, along));
  return distance(p, [a[0] + t * ab[0], a[1] + t * ab[1]]);
}

function farthest(from: Point, points: readonly Point[]): number {
  let at = 0;
  points.forEach((p, i) => {
    if (distance(from, p) > distance(from, points[at]!)) at = i;
  });
  return at;
}

const plus = (a: Point, b: Point): Point => [a[0] + b[0], a[1] + b[1]];
const minus = (a: Point, b: Point): Point => [a[0] - b[0], a[1] - b[1]];
const lengthSquared = (a: Point): number => a[0] * a[0] + a[1] * a[1];
