/**
 * The readers' regions over the image: drawn with it, and never to be changed.
 */

import type { Point } from './geometry.ts';
import type { Opinion } from './opinions.ts';
import { readerColor } from './readers.ts';
import { closed, outline } from './shapes.ts';

/** CSS pixels of a name's plate, and between it and its region. */
const PLATE = 18;
const PAD = 5;
const GAP = 4;
const FONT = '600 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

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

/** What a name covers on the screen, in CSS pixels. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Where names stand: above the place they belong to, or as far higher as it takes to cover nothing
 * that stands there already; below it where the top of the image is in the way.
 *
 * Args: names: where each belongs, and how wide it is; taken: boxes that are not to be covered.
 */
export function stacked(names: readonly { at: Point; width: number }[], taken: readonly Box[] = []): Box[] {
  const stood = [...taken];
  return names.map(({ at, width }) => {
    const from: Box = { left: at[0], top: at[1] - PLATE - GAP, width, height: PLATE };
    const up = free(from, stood, -1);
    const box = up.top >= 0 ? up : free({ ...from, top: Math.max(from.top, 0) }, stood, 1);
    stood.push(box);
    return box;
  });
}

/** Move a box up (-1) or down until it covers none. */
function free(box: Box, stood: readonly Box[], way: -1 | 1): Box {
  const hit = stood.find((one) => cover(box, one));
  if (hit === undefined) return box;
  const top = way < 0 ? hit.top - box.height - 1 : hit.top + hit.height + 1;
  return free({ ...box, top }, stood, way);
}

function cover(a: Box, b: Box): boolean {
  return a.left < b.left + b.width && b.left < a.left + a.width && a.top < b.top + b.height && b.top < a.top + a.height;
}

const widths = new Map<string, number>();
let pen: CanvasRenderingContext2D | null = null;

/** CSS pixels of a name with its plate; asked of the page, it would cost a layout a frame. */
export function plateWidth(text: string): number {
  pen ??= document.createElement('canvas').getContext('2d');
  if (pen === null) return text.length * 7;
  pen.font = FONT;
  const width = widths.get(text) ?? Math.ceil(pen.measureText(text).width) + 2 * PAD;
  widths.set(text, width);
  return width;
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

  /** Args: tags: the names of one's own regions, which stand where they stand. */
  draw(lines: readonly Line[], tags: readonly { text: string; at: Point }[] = []): void {
    const own = tags.map(({ text, at }) => {
      return { left: at[0], top: at[1] - PLATE - GAP, width: plateWidth(text), height: PLATE };
    });
    const boxes = stacked(lines.map(({ text, at }) => ({ at, width: plateWidth(text) })), own);
    const names = lines.flatMap((line, i) => this.#name(line, boxes[i]!));
    this.element.replaceChildren(...lines.map((line) => this.#path(line)), ...names);
  }

  #path({ d, color }: Line): SVGElement {
    const made = document.createElementNS(SVG, 'path');
    made.setAttribute('d', d);
    made.setAttribute('stroke', color);
    return made;
  }

  #name({ text, color }: Line, { left, top, width, height }: Box): SVGElement[] {
    const plate = document.createElementNS(SVG, 'rect');
    const sides = { x: left, y: top, width, height, rx: 3 };
    for (const [name, value] of Object.entries(sides)) plate.setAttribute(name, String(value));
    const made = document.createElementNS(SVG, 'text');
    made.setAttribute('x', String(left + PAD));
    made.setAttribute('y', String(top + height - PAD));
    made.setAttribute('fill', color);
    made.textContent = text;
    return [plate, made];
  }
}
