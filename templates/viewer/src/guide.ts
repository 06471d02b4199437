/**
 * The job's instructions, with example images: a dialog that opens when it is asked for.
 *
 * Not by itself: a page that begins with a dialog is in the way on every day but the first. Its
 * button stands out until it was pressed once.
 */

import { button, h } from './dom.ts';
import { withKey } from './keys.ts';
import type { Binding } from './keys.ts';
import type { Example, Task } from './task.ts';

const KEPT = 'cxr-guide-read';

export class Guide {
  readonly element: HTMLDialogElement;
  readonly opener: HTMLButtonElement;
  readonly #text = h('p', { class: 'cxr-text' });
  readonly #examples = h('div', { class: 'cxr-examples' });
  #says = '';

  constructor() {
    this.element = h('dialog', { class: 'cxr-dialog cxr-guide', 'aria-label': 'Instructions' }, h('h2', {}, 'Instructions'));
    const close = button({ 'data-action': 'close' }, () => this.element.close(), 'Close');
    this.element.append(this.#text, this.#examples, close);
    this.opener = button(
      { 'data-action': 'instructions', 'aria-haspopup': 'dialog' },
      () => this.open(),
      'Instructions',
    );
  }

  /** The keys that the job has. */
  equip(keys: readonly Binding[]): void {
    this.opener.title = withKey('How this job is to be read', 'instructions', keys);
  }

  begin(task: Task): void {
    this.element.close();
    this.#text.textContent = task.instructions;
    this.#text.hidden = task.instructions === '';
    const says = JSON.stringify([task.jobId, task.instructions, task.examples.map((one) => one.caption)]);
    if (says === this.#says) return;
    this.#says = says;
    this.#examples.replaceChildren(...figures(task.examples));
    this.opener.hidden = task.instructions === '' && this.#examples.childElementCount === 0;
    this.opener.toggleAttribute('data-unread', remembered() !== says);
  }

  open(): void {
    if (this.opener.hidden || this.element.open) return;
    this.element.showModal();
    this.opener.removeAttribute('data-unread');
    remember(this.#says);
  }
}

/** Those of the template, whose links are good in Ground Truth too; else those of the task. */
function figures(examples: readonly Example[]): HTMLElement[] {
  const given = [...document.querySelectorAll<HTMLElement>('full-instructions figure')];
  if (given.length > 0) return given;
  return examples.map(({ url, caption }) =>
    h('figure', {}, h('img', { src: url, alt: caption, loading: 'lazy' }), h('figcaption', {}, caption)),
  );
}

function remembered(): string | null {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // a sandboxed frame has no storage
  }
}

function remember(says: string): void {
  try {
    localStorage.setItem(KEPT, says);
  } catch {
    // it will stand out again
  }
}
