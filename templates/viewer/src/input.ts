/**
 * What the reader does with keys, wheel and mouse, told to who decides about it.
 */

import { isTyping } from './dom.ts';
import type { Point } from './geometry.ts';
import { commandOf } from './keys.ts';
import type { Command } from './keys.ts';
import type { ActiveClock } from './timing.ts';

/** CSS pixels of a wheel that counts in lines. */
const LINE = 33;

/** Args: run: does a command; false if it does not apply, and the key is the browser's again. */
export function listenKeys(run: (command: Command) => boolean): void {
  const key = (event: KeyboardEvent): void => {
    if (isOwn(event)) return;
    const command = commandOf(event);
    if (command === null || (isTyping(event.target) && command !== 'submit')) return;
    if (run(command)) event.preventDefault();
  };
  document.addEventListener('keydown', key, { capture: true });
}

/** Whether the element with the keyboard has a use of its own for this key. */
function isOwn(event: KeyboardEvent): boolean {
  if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return false;
  const own = event.target instanceof HTMLElement ? event.target.dataset['ownKeys'] : undefined;
  return own?.split(' ').includes(event.key) ?? false;
}

/** Args: clock: gives the one of the image being read. */
export function listenActivity(clock: () => ActiveClock, show: (ms: number) => void): void {
  const touch = (): void => clock().touch(performance.now());
  for (const name of ['pointermove', 'pointerdown', 'keydown', 'wheel']) {
    document.addEventListener(name, touch, { capture: true, passive: true });
  }
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) clock().hide(performance.now());
    else touch();
  });
  setInterval(() => show(clock().active(performance.now())), 1000);
}

/** Args: zoom: by a factor, about a point of the stage in CSS pixels. */
export function listenStage(stage: HTMLElement, zoom: (factor: number, at: Point) => void): void {
  // Cornerstone swallows every key on its element, Tab too: the keyboard would be trapped there
  stage.parentElement?.addEventListener('keydown', (event) => event.stopPropagation(), true);
  stage.addEventListener('contextmenu', (event) => event.preventDefault());
  const wheel = (event: WheelEvent): void => {
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1;
    zoom(Math.exp((-event.deltaY * lines) / 500), [event.clientX - box.left, event.clientY - box.top]);
  };
  stage.addEventListener('wheel', wheel, { passive: false });
}

/** Args: fill: writes the answer into the form; false if there is something left to do. */
export function listenSubmit(root: HTMLElement, fill: () => boolean): void {
  // before the button's own handler, and again for a form submitted without it
  const click = (event: Event): void => {
    const submits = event.target instanceof Element && event.target.closest('crowd-button');
    if (submits && !fill()) event.stopImmediatePropagation();
  };
  root.addEventListener('click', click, { capture: true });
  document.querySelector('crowd-form')?.addEventListener('submit', (event) => {
    if (!fill()) event.preventDefault();
  });
}

/** Args: told: a mouse button went down on the stage (true), or up anywhere. */
export function listenDrags(stage: HTMLElement, told: (down: boolean) => void): void {
  stage.addEventListener('pointerdown', () => told(true), { capture: true });
  // after the mouse event that follows, by which Cornerstone ends what it drags
  const up = (): void => void setTimeout(() => told(false));
  for (const name of ['pointerup', 'pointercancel']) document.addEventListener(name, up, { capture: true });
}

/** Args: left: the reader turns away; true if the page may be gone for good. */
export function listenLeaving(left: (gone: boolean) => void): void {
  window.addEventListener('blur', () => left(false));
  window.addEventListener('pagehide', () => left(true));
  document.addEventListener('visibilitychange', () => document.hidden && left(true));
}
