/**
 * What lies over the image and moves with it: regions, their names, the readers' regions.
 */

import type { Drawn } from './annotation.ts';
import type { Answers } from './findings.ts';
import type { Point } from './geometry.ts';
import { linesOf } from './marks.ts';
import type { Panel } from './panel.ts';
import * as regions from './regions.ts';
import type { Task } from './task.ts';
import type { View } from './viewing.ts';

/** Draw it where the camera has the image now. */
export function drawOver(room: View & { readonly panel: Panel }, task: Task, answers: Answers, drawn: readonly Drawn[]): void {
  const { page, panel, radiograph, rois } = room;
  if (!radiograph.ready) {
    page.marks.draw([]);
    return page.showTags([]);
  }
  rois.redraw();
  const toScreen = (point: Point): Point => radiograph.toScreen(point);
  const seen = drawn.filter((roi) => rois.shown && !rois.hidden.has(roi.id));
  const tags = regions.tags(seen, answers, toScreen, measureOf(room));
  page.showTags(tags);
  page.marks.draw(rois.shown ? linesOf(task.opinions, panel.visibleReaders, toScreen) : [], tags);
}

/** How large regions are, in words; empty without an image. */
export function measureOf({ radiograph: { facts } }: View): (roi: Drawn) => string {
  return facts === null ? () => '' : regions.measures(facts);
}
