/**
 * Regions and the findings they belong to: what fits together, and what is left to do.
 */

import { measuring, refusal } from './annotation.ts';
import type { Drawn, ImageFacts } from './annotation.ts';
import { unanswered } from './findings.ts';
import type { Answers } from './findings.ts';
import { corners } from './geometry.ts';
import type { Point } from './geometry.ts';
import { says, scaleOf } from './measure.ts';
import type { Tag } from './page.ts';
import { COLORS } from './style.ts';
import type { Task } from './task.ts';

/** A finding to look at again, and why. */
export interface Left {
  readonly label: string;
  readonly says: string;
  /** the region whose finding says otherwise */
  readonly orphan?: Drawn;
  /** the job asks for a region of it */
  readonly asked?: boolean;
}

/** Tools that draw a region. */
const DRAWING: readonly string[] = ['rectangle', 'ellipse', 'polygon', 'freehand'];

/** A region whose finding is absent or unanswered. */
export function orphan(drawn: readonly Drawn[], answers: Answers): Left | null {
  const roi = drawn.find((one) => isOrphan(one, answers));
  if (!roi) return null;
  const { label } = roi;
  const said = answers[label] ?? 'unanswered';
  return { label, says: `${label} is ${said} but has a region: change one of them`, orphan: roi };
}

export function isOrphan(roi: Drawn, answers: Answers): boolean {
  return color(roi, answers) === COLORS.wrong;
}

/** Present findings that the job wants a region of, and that have none. */
export function asking(drawn: readonly Drawn[], answers: Answers, task: Task): string[] {
  const { askRoi, tools } = task.page;
  const drawable = tools === null || tools.some((tool) => DRAWING.includes(tool));
  if (!drawable) return []; // nobody could give one
  const has = (label: string): boolean => drawn.some((roi) => roi.label === label && DRAWING.includes(roi.type));
  return task.labels.filter((label) => askRoi.includes(label) && answers[label] === 'present' && !has(label));
}

/** The first thing that keeps an answer on an image from being submitted, or null. */
export function left(
  drawn: readonly Drawn[],
  answers: Answers,
  task: Task,
  image: ImageFacts,
): Left | null {
  const [label, ...others] = unanswered(answers, task);
  if (label !== undefined) {
    const more = others.length > 0 ? ` and ${others.length} more` : '';
    return { label, says: `Unanswered: ${label}${more}` };
  }
  // a region that was good when drawn may have been moved since
  const moved = drawn.find((roi) => refusal(roi, image) !== '');
  if (moved) return { label: moved.label, says: `${refusal(moved, image)} (${moved.label})` };
  const [asked] = asking(drawn, answers, task);
  if (asked !== undefined) {
    const how = 'draw one (rectangle, ellipse, polygon or freehand), or change its answer';
    return { label: asked, says: `${asked} is present and this job asks where: ${how}`, asked: true };
  }
  return orphan(drawn, answers);
}

/** The names to show on the regions, at their top left corners. */
export function tags(
  drawn: readonly Drawn[],
  answers: Answers,
  toScreen: (p: Point) => Point,
  measure: (roi: Drawn) => string = () => '',
): Tag[] {
  return drawn.map((roi) => {
    const [at] = corners(roi.points.map(toScreen));
    const text = [roi.label, measure(roi)].filter((part) => part !== '').join('  ');
    return { text, at, color: color(roi, answers) };
  });
}

/** What to write of the size of a region, such as "12.3 mm (detector)". */
export function measures(image: ImageFacts): (roi: Drawn) => string {
  const scale = scaleOf(image);
  return ({ type, points }) => says(type, points, scale);
}

export function color(roi: Drawn, answers: Answers): string {
  const said = answers[roi.label];
  if (measuring(roi.type) && (said === 'absent' || said === 'unanswered')) return COLORS.measure;
  return said === 'present' || said === 'uncertain' ? COLORS[said] : COLORS.wrong;
}
