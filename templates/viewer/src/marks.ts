/**
 * The readers' regions over the image: drawn with it, and never to be changed.
 */

import type { Point } from './geometry.ts';
import type { Opinion } from './opinions.ts';
import { readerColor } from './readers.ts';
import { closed, outline } from './shapes.ts';

const SVG = 'http://www.w3.org/2000/svg';
/** CSS pixels of the arms of a point. */
const ARM = 6;

/** A line on the screen, in CSS pixels. */
export interface Line {
  readonly d: string;
  readonly color: string;
  readonly text: string;
  readonly at: Point;
}

/** The lines of those readers that are shown. */
export function linesOf(
  opinions: readonly Opinion[],
  visible: ReadonlySet<string>,
  toScreen: (pixel: Point) => Point,
): Line[] {
  return opinions.flatMap((one, i) => {
    if (!visible.has(one.name)) return [];
    return one.marks.map((mark) => {
      const screen = outline(mark).map(toScreen);
      const at = screen.reduce((top, p) => (p[1] < top[1] ? p : top), screen[0]!);
      return { d: path(screen, closed(mark.type)), color: readerColor(i), text: `${one.name} ${mark.label}`, at };
    });
  });
}

function path(points: readonly Point[], ring: boolean): string {
  const [first, ...rest] = points;
  if (first === undefined) return '';
  const at = (p: Point): string => `${p[0].toFixed(2)} ${p[1].toFixed(2)}`;
  if (rest.length === 0) return `M${at(first)}m${-ARM} 0h${2 * ARM}m${-ARM} ${-ARM}v${2 * ARM}`;
  return `M${at(first)}L${rest.map(at).join('L')}${ring ? 'Z' : ''}`;
}

export class MarkLayer {
  readonly element = document.createElementNS(SVG, 'svg');

  constructor() {
    this.element.setAttribute('class', 'cxr-marks');
    this.element.setAttribute('aria-hidden', 'true');
  }

  draw(lines: readonly Line[]): void {
    this.element.replaceChildren(...lines.flatMap((line) => [this.#path(line), this.#text(line)]));
  }

  #path({ d, color }: Line): SVGElement {
    const made = document.createElementNS(SVG, 'path');
    made.setAttribute('d', d);
    made.setAttribute('stroke', color);
    return made;
  }

  #text({ text, at, color }: Line): SVGElement {
    const made = document.createElementNS(SVG, 'text');
    made.setAttribute('x', String(at[0] + 3));
    made.setAttribute('y', String(at[1] - 5));
    made.setAttribute('fill', color);
    made.textContent = text;
    return made;
  }
}
