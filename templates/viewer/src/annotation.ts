/**
 * The answer as it is submitted: schema `cxr-annotation/1`, one JSON string in the form field
 * `annotation`. The Python side reads it in cxr/contract/annotation.py; keep the two together.
 */

import type { Answers, LabelSet, State } from './findings.ts';
import { clampToImage, corners, distance, ellipseAxes, round, simplify } from './geometry.ts';
import type { Point } from './geometry.ts';
import type { Task } from './task.ts';

export const SCHEMA = 'cxr-annotation/1';

/** Pixels a polygon's line may move when points are left out; freehand lines were thinned before. */
const TOLERANCE = 0.01;
/** Image pixels; a smaller region is a slip of the mouse. */
const SMALLEST = 2;

export type RoiType = 'rectangle' | 'ellipse' | 'polygon' | 'length' | 'point';

/** Region type to fewest and most points, as cxr/contract/annotation.py has it. */
export const ROI_POINTS: Readonly<Record<RoiType, readonly [number, number]>> = {
  rectangle: [2, 2],
  ellipse: [4, 4],
  polygon: [3, 10_000],
  length: [2, 2],
  point: [1, 1],
};

/** Whether it measures, and says nothing of its finding's state: lengths and points. */
export function measuring(type: RoiType): boolean {
  return type === 'length' || type === 'point';
}

/** A region as drawn; `points` in image pixels: corners, ends of two diameters, a ring, two ends, one. */
export interface Drawn {
  readonly id: string;
  readonly type: RoiType;
  readonly label: string;
  readonly points: readonly Point[];
}

export interface ImageFacts {
  readonly studyUid: string;
  readonly seriesUid: string;
  readonly sopUid: string;
  readonly frame: number;
  readonly rows: number;
  readonly columns: number;
  readonly pixelSpacing: readonly number[] | null;
  readonly imagerPixelSpacing: readonly number[] | null;
  readonly patientOrientation: readonly string[] | null;
  readonly photometric: string;
  readonly transferSyntax: string;
}

export interface ViewFacts {
  /** centre and width, in values after the modality LUT; null where a VOI LUT was shown */
  readonly window: readonly [number, number] | null;
  readonly invert: boolean;
  readonly flipH: boolean;
  readonly flipV: boolean;
  readonly rotation: number;
  readonly backend: 'cpu' | 'gpu';
}

export interface Timing {
  readonly startedAt: string;
  readonly submittedAt: string;
  readonly activeMs: number;
  readonly totalMs: number;
}

export interface Answered {
  readonly task: Task;
  readonly set: LabelSet;
  readonly answers: Answers;
  readonly drawn: readonly Drawn[];
  /** null if the image could not be shown; then only a skip can be submitted */
  readonly image: ImageFacts | null;
  readonly view: ViewFacts | null;
  readonly comment: string;
  /** finding to comment, where there is one */
  readonly comments: Readonly<Record<string, string>>;
  /** why the image is skipped, or null */
  readonly skip: string | null;
  readonly timing: Timing;
}

/** Give the document in the order facts and readers know it. */
export function toDocument(a: Answered): object {
  return {
    schema: SCHEMA,
    task: {
      jobId: a.task.jobId,
      itemId: a.task.itemId,
      templateSha: a.task.templateSha,
      viewerSha: a.task.viewerSha,
    },
    image: a.task.page.uids ? a.image : nameless(a.image),
    findings: a.set.labels.map((label) => ({
      label,
      state: stateOf(a.answers, label),
      comment: a.comments[label]?.trim() ?? '',
    })),
    rois: a.drawn.map((roi) => ({
      id: roi.id,
      type: roi.type,
      label: roi.label,
      points: exportPoints(roi, a.image),
      state: stateOfRoi(roi, a.answers),
      comment: '',
    })),
    quality: { usable: a.skip === null, reason: a.skip },
    comment: a.comment.trim(),
    skipped: a.skip !== null,
    view: a.view,
    timing: a.timing,
  };
}

/** The image without what tells it from others, and of whom it is. */
function nameless(image: ImageFacts | null): ImageFacts | null {
  return image && { ...image, studyUid: '', seriesUid: '', sopUid: '' };
}

/** Image pixels as the schema wants them for this type of region, rounded to two decimals. */
export function exportPoints(roi: Drawn, image: Pick<ImageFacts, 'rows' | 'columns'> | null): Point[] {
  const within = (point: Point): Point =>
    image === null ? point : clampToImage(point, image.columns, image.rows);
  switch (roi.type) {
    case 'rectangle':
      return corners(roi.points).map(within).map(round);
    case 'ellipse': {
      const [a, b, c, d] = roi.points;
      if (!a || !b || !c || !d) return [];
      // not clamped: moving one end of an axis would make another ellipse
      return ellipseAxes([a, b], [c, d]).map(round);
    }
    case 'polygon':
      return simplify(roi.points.map(within), TOLERANCE).map(round);
    case 'length':
    case 'point':
      return roi.points.map(within).map(round);
  }
}

/** Why a region cannot stay as it is, or an empty string. */
export function refusal(roi: Drawn, image: Pick<ImageFacts, 'rows' | 'columns'>): string {
  const whole: readonly Point[] = roi.type === 'ellipse' ? exportPoints(roi, image) : roi.points;
  if (!whole.flat().every(Number.isFinite)) return 'That region could not be read'; // JSON has no NaN
  if (roi.type === 'point') return outside(roi.points[0]!, image) ? 'A point must lie on the image' : '';
  if (roi.type === 'length') {
    const [a, b] = roi.points;
    if (!a || !b || outside(a, image) || outside(b, image)) return 'A length must lie on the image';
    return distance(a, b) < SMALLEST ? 'That length was too short to keep' : '';
  }
  const [least, most] = corners(whole.map((p) => clampToImage(p, image.columns, image.rows)));
  if (most[0] - least[0] < SMALLEST || most[1] - least[1] < SMALLEST) {
    const [a, b] = corners(whole);
    const away = distance(a, b) > SMALLEST * 2;
    return away ? 'A region must lie on the image' : 'That region was too small to keep';
  }
  const points = exportPoints(roi, image);
  if (roi.type === 'polygon' && points.length < 3) return 'A polygon needs three points';
  return '';
}

/** A measurement says nothing of its finding, which may be absent; any other region shows it. */
function stateOfRoi({ type, label }: Drawn, answers: Answers): State {
  const said = stateOf(answers, label);
  if (measuring(type)) return said;
  return said === 'uncertain' ? 'uncertain' : 'present';
}

function stateOf(answers: Answers, label: string): State {
  return answers[label] ?? 'unanswered';
}

function outside([x, y]: Point, { columns, rows }: Pick<ImageFacts, 'rows' | 'columns'>): boolean {
  return x < 0 || y < 0 || x > columns || y > rows;
}
