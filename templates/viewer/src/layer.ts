/**
 * How regions look: an SVG over the image, in CSS pixels. It knows no findings and no mouse.
 */

import type { Point } from './geometry.ts';
import { closed, handles, outline } from './shapes.ts';
import type { Shape } from './shapes.ts';

const SVG = 'http://www.w3.org/2000/svg';
/** CSS pixels from the middle of a point's cross to its ends. */
const CROSS = 8;

export interface Look {
  readonly shape: Shape;
  readonly color: string;
  readonly id?: string;
  /** show what can be dragged */
  readonly handles?: boolean;
  /** still being drawn: its line does not lead back yet */
  readonly open?: boolean;
}

export class Layer {
  readonly #svg = document.createElementNS(SVG, 'svg');

  /** Args: element: lies over the image, and is as large. */
  constructor(element: HTMLElement) {
    this.#svg.classList.add('cxr-regions');
    this.#svg.setAttribute('aria-hidden', 'true'); // the list beside the image says the same
    element.append(this.#svg);
  }

  draw(looks: readonly Look[], toScreen: (pixel: Point) => Point): void {
    this.#svg.replaceChildren(...looks.map((look) => group(look, toScreen)));
  }
}

function group(look: Look, toScreen: (pixel: Point) => Point): SVGGElement {
  const { shape, color, id } = look;
  const made = element('g', { 'data-roi': id ?? '', 'data-type': shape.type, stroke: color });
  const d = path(shape, look.open === true, toScreen);
  made.append(element('path', { d, class: 'cxr-halo' }), element('path', { d, class: 'cxr-line' }));
  const ends = look.handles || shape.type === 'length';
  const begun = look.open === true && shape.type === 'polygon' ? shape.points.slice(0, 1) : []; // to close it at
  const held = ends && shape.type !== 'point' ? handles(shape) : begun;
  const r = look.handles ? '4.5' : '2.5';
  for (const [cx, cy] of held.map(toScreen)) {
    made.append(element('circle', { cx: digits(cx), cy: digits(cy), r }));
  }
  return made;
}

function path(shape: Shape, open: boolean, toScreen: (pixel: Point) => Point): string {
  const line = outline(shape).map(toScreen);
  if (shape.type === 'point') {
    const [x, y] = line[0]!;
    const reach = digits(CROSS * 2);
    return `M${digits(x - CROSS)} ${digits(y)}h${reach}M${digits(x)} ${digits(y - CROSS)}v${reach}`;
  }
  const end = closed(shape.type) && !(open && shape.type === 'polygon') ? 'Z' : '';
  return `M${line.map(([x, y]) => `${digits(x)} ${digits(y)}`).join('L')}${end}`;
}

function element<K extends keyof SVGElementTagNameMap>(
  name: K,
  attributes: Readonly<Record<string, string>>,
): SVGElementTagNameMap[K] {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const digits = (value: number): string => value.toFixed(2);
