/**
 * What the reader does with keys, wheel and mouse, told to who decides about it.
 */

import { isTyping } from './dom.ts';
import type { Point } from './geometry.ts';
import { commandOf } from './keys.ts';
import type { Binding, Command } from './keys.ts';
import type { ActiveClock } from './timing.ts';

/** CSS pixels of a wheel that counts in lines. */
const LINE = 33;

/** Commands that a key held down repeats. */
const REPEATED = /^(finding|pan|window-[a-z]+|zoom|undo|redo|region)/;

/** Args: keys: what is bound; run: does a command; false if it does not apply, and the key is the browser's again. */
export function listenKeys(keys: () => readonly Binding[], run: (command: Command) => boolean): void {
  const key = (event: KeyboardEvent): void => {
    if (isOwn(event)) return;
    const command = commandOf(event, keys());
    if (command === null || meantElsewhere(event, command)) return;
    if (event.repeat && !REPEATED.test(command)) return event.preventDefault();
    if (!run(command)) return;
    event.preventDefault();
    event.stopPropagation(); // or arrows would also walk through the answers of a finding
  };
  document.addEventListener('keydown', key, { capture: true });
}

/** Whether a key is typed into a field, walks through a menu, or presses what it is on. */
function meantElsewhere(event: KeyboardEvent, command: Command): boolean {
  const chord = event.ctrlKey || event.metaKey;
  const { target } = event;
  if (!(target instanceof Element) || target.closest('dialog:not([open])')) return false; // focus leaves that a frame late
  if (isTyping(target)) return command !== 'submit' || !chord;
  if (target.closest('[role="menu"]')) return true;
  const presses = event.key === ' ' || (event.key === 'Enter' && !chord);
  return presses && target.closest('button, crowd-button, a') !== null;
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

/** Args: stays: whether the page must not be left now; it says why. */
export function listenLinks(root: HTMLElement, stays: () => boolean): void {
  const click = (event: Event): void => {
    if (event.target instanceof Element && event.target.closest('a[href]') && stays()) event.preventDefault();
  };
  root.addEventListener('click', click);
  window.addEventListener('beforeunload', (event) => stays() && event.preventDefault());
}

/** Args: told: a mouse button went down on the stage (true), or up anywhere. */
export function listenDrags(stage: HTMLElement, told: (down: boolean) => void): void {
  stage.addEventListener('pointerdown', () => told(true), { capture: true });
  // bubbling: after what the stage makes of it, and before any key that follows
  for (const name of ['pointerup', 'pointercancel']) document.addEventListener(name, () => told(false));
}

/** Args: left: the reader turns away; true if the page may be gone for good. */
export function listenLeaving(left: (gone: boolean) => void): void {
  window.addEventListener('blur', () => left(false));
  window.addEventListener('pagehide', () => left(true));
  document.addEventListener('visibilitychange', () => document.hidden && left(true));
}
