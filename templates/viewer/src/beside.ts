/**
 * Other images of the patient beside the one being read: to look at, never to answer on.
 *
 * They are loaded when asked for, and what goes wrong with them stays here.
 */

import { edges } from './camera.ts';
import type { Camera } from './camera.ts';
import { button, h, icon } from './dom.ts';
import { ImageError } from './file.ts';
import { ICONS } from './icons.ts';
import { keyOf } from './keys.ts';
import type { Binding } from './keys.ts';
import { SIDES, unsided } from './overlay.ts';
import { preparePicture, release } from './picture.ts';
import type { Picture } from './picture.ts';
import { Still } from './still.ts';
import type { Companion } from './task.ts';

const UPRIGHT: Camera = { centre: [0, 0], scale: 1, rotation: 0, flipH: false, flipV: false };

export class Beside {
  readonly element: HTMLElement;
  /** opens and closes it; not there where there is nothing to compare with */
  readonly opener: HTMLButtonElement;
  readonly #still = new Still();
  readonly #tabs = h('div', { class: 'cxr-tabs', role: 'group', 'aria-label': 'Other images' });
  readonly #state = h('div', { class: 'cxr-beside-state', role: 'status' });
  readonly #sides = new Map(SIDES.map((side) => [side, h('span', { class: 'cxr-beside-edge', 'data-edge': side })]));
  #companions: readonly Companion[] = [];
  #shown = 0;
  #key = '';
  #picture: Picture | null = null;
  /** counts what was asked for: an image that arrives late belongs nowhere */
  #asked = 0;

  constructor() {
    this.opener = button(
      { 'data-action': 'companions', 'aria-expanded': 'false', hidden: true },
      () => this.toggle(),
      'Compare',
    );
    const small = (name: string, label: string, act: () => void, ...text: (Node | string)[]): HTMLElement =>
      button({ 'data-beside': name, 'aria-label': label, title: label }, act, ...text);
    this.element = h(
      'aside',
      { class: 'cxr-beside', 'aria-label': 'Other images of the patient, read-only', hidden: true },
      this.#tabs,
      h('div', { class: 'cxr-beside-view' }, this.#still.canvas, ...this.#sides.values(), this.#state),
      h(
        'div',
        { class: 'cxr-beside-foot', role: 'group', 'aria-label': 'View of the other image' },
        small('zoom-out', 'Zoom out', () => this.#still.zoom(0.8), '−'),
        small('zoom-in', 'Zoom in', () => this.#still.zoom(1.25), '+'),
        small('fit', 'Fit', () => this.#still.fit(), 'Fit'),
        h('span', { class: 'cxr-read-only' }, 'read-only'),
        small('close', 'Close the other image', () => this.toggle(), icon(ICONS.cross)),
      ),
    );
  }

  /** The keys that the job has; before `begin`. */
  equip(keys: readonly Binding[]): void {
    this.#key = keyOf('companions', keys);
  }

  /** Another image is read: whoever compares goes on comparing, where there is something. */
  begin(companions: readonly Companion[]): void {
    const stays = !this.element.hidden && companions.length > 0;
    this.#forget();
    this.#companions = companions;
    this.opener.hidden = companions.length === 0;
    const says = companions.map((one) => one.says).join('; ');
    this.opener.title = this.#key === '' ? says : `${says} (${this.#key})`;
    this.#tabs.replaceChildren(
      ...companions.map((one, i) => button({ title: one.says }, () => this.#show(i), one.says)),
    );
    this.#open(stays);
    if (stays) setTimeout(() => this.#show(0)); // after the image to be read
  }

  /** False if there is nothing to show. */
  toggle(): boolean {
    if (this.#companions.length === 0) return false;
    const open = this.element.hidden === true;
    this.#open(open);
    if (open) this.#show(this.#shown);
    else this.opener.focus();
    return true;
  }

  #open(open: boolean): void {
    this.element.hidden = !open;
    this.opener.setAttribute('aria-expanded', String(open));
  }

  #show(index: number): void {
    const companion = this.#companions[index];
    if (companion === undefined || this.element.hidden) return;
    [...this.#tabs.children].forEach((tab, i) => tab.setAttribute('aria-pressed', String(i === index)));
    if (this.#picture !== null && index === this.#shown) return;
    this.#forget();
    this.#shown = index;
    void this.#load(companion, this.#asked);
  }

  async #load(companion: Companion, asked: number): Promise<void> {
    this.#say('Loading …');
    let picture: Picture;
    try {
      picture = await preparePicture(companion.imageUrl);
    } catch (error) {
      if (asked !== this.#asked) return;
      if (!(error instanceof ImageError)) console.error(error);
      const why = error instanceof ImageError ? error.message : String(error);
      const again = button({ 'data-beside': 'retry' }, () => void this.#load(companion, asked), 'Try again');
      return this.#say(`This image cannot be shown: ${why}. You can answer without it.`, again);
    }
    if (asked !== this.#asked) return release(picture);
    this.#say('');
    this.#picture = picture;
    this.#still.show(picture, companion.says);
    this.#letter(picture);
  }

  /** Which side of the patient is where: it is always shown as stored, upright. */
  #letter(picture: Picture | null): void {
    const shown = edges(picture?.facts.patientOrientation ?? null, UPRIGHT);
    const unknown = picture !== null && unsided({ edges: shown });
    for (const [side, letter] of this.#sides) {
      const lateral = side === 'left' || side === 'right';
      letter.textContent = unknown && lateral ? '?' : shown[side];
    }
  }

  #say(text: string, ...more: readonly Node[]): void {
    this.#state.replaceChildren(...(text === '' ? [] : [h('p', {}, text)]), ...more);
  }

  #forget(): void {
    this.#asked += 1;
    this.#shown = 0;
    if (this.#picture !== null) release(this.#picture);
    this.#picture = null;
    this.#still.show(null, '');
    this.#letter(null);
    this.#say('');
  }
}
