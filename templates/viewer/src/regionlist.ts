/**
 * The list of regions: what each is, how large, whose it is; select, give, hide, delete.
 */

import type { Drawn } from './annotation.ts';
import { button, h, icon } from './dom.ts';
import type { Answers } from './findings.ts';
import { ICONS } from './icons.ts';
import { Menu } from './menu.ts';

export interface RegionEvents {
  selectRoi(id: string): void;
  removeRoi(id: string): void;
  /** give a region to another finding */
  rebindRoi(id: string, label: string): void;
  showRoi(id: string, visible: boolean): void;
}

export interface RegionState {
  readonly answers: Answers;
  readonly rois: readonly Drawn[];
  readonly selectedRoi: string | null;
  readonly hidden: ReadonlySet<string>;
  /** what a region measures, in words; may be empty */
  measure(roi: Drawn): string;
  /** what to say where there is none */
  readonly none: string;
}

interface Item {
  readonly element: HTMLLIElement;
  paint(roi: Drawn, state: RegionState): void;
}

export class RegionList {
  readonly element = h('ul', { class: 'cxr-rois', 'aria-label': 'Regions' });
  readonly #none = h('li', { class: 'cxr-none' });
  readonly #menu = new Menu();
  readonly #labels: readonly string[];
  readonly #events: RegionEvents;
  /** kept by region: an item that is rebuilt loses the keyboard */
  readonly #items = new Map<string, Item>();

  /** Args: labels: the findings that may own a region. */
  constructor(labels: readonly string[], events: RegionEvents) {
    this.#labels = labels;
    this.#events = events;
  }

  update(state: RegionState): void {
    const ids = state.rois.map((roi) => roi.id);
    for (const [id, item] of this.#items) {
      if (ids.includes(id)) continue;
      item.element.remove();
      this.#items.delete(id);
    }
    for (const roi of state.rois) {
      let item = this.#items.get(roi.id);
      if (item === undefined) {
        item = this.#item(roi);
        this.#items.set(roi.id, item);
        this.element.append(item.element);
        item.element.scrollIntoView({ block: 'nearest' });
      }
      item.paint(roi, state);
    }
    this.#none.textContent = state.none;
    if (state.rois.length > 0) this.#none.remove();
    else this.element.append(this.#none);
  }

  #item({ id, type }: Drawn): Item {
    const name = h('span');
    const size = h('span', { class: 'cxr-measure' });
    const select = button({ class: 'cxr-name' }, () => this.#events.selectRoi(id));
    select.append(icon(ICONS[type]), name, size);
    let label = '';
    const owner = button(
      { 'data-action': 'rebind-roi', 'aria-haspopup': 'menu', 'aria-expanded': 'false', title: 'Belongs to …' },
      () => this.#menu.toggle(owner, this.#labels, label, (other) => this.#events.rebindRoi(id, other)),
      icon(ICONS.chevron),
    );
    const bind = h('span', { class: 'cxr-bind' }, owner); // with its menu
    const eye = button({ 'data-action': 'hide-roi' }, () => this.#toggle(id, eye), icon(ICONS.eye));
    const gone = button({ 'data-action': 'delete-roi' }, () => this.#events.removeRoi(id), icon(ICONS.cross));
    const element = h('li', { 'data-roi': id, 'data-type': type }, select, bind, eye, gone);
    const paint = (roi: Drawn, state: RegionState): void => {
      const hidden = state.hidden.has(id);
      const measure = state.measure(roi);
      const what = `${type} of ${roi.label}`;
      element.dataset['answer'] = state.answers[roi.label] ?? 'unanswered';
      element.toggleAttribute('data-hidden', hidden);
      name.textContent = roi.label;
      size.textContent = measure;
      select.title = `Select this ${what}${measure === '' ? '' : ` (${measure})`}`;
      select.setAttribute('aria-current', String(id === state.selectedRoi));
      label = roi.label;
      owner.setAttribute('aria-label', `This ${type} belongs to ${label}`);
      eye.title = hidden ? `Show this ${what}` : `Hide this ${what}`;
      eye.setAttribute('aria-label', `Hide ${what}`);
      eye.setAttribute('aria-pressed', String(hidden));
      gone.title = `Delete this ${what}`;
      gone.setAttribute('aria-label', `Delete ${what}`);
    };
    return { element, paint };
  }

  #toggle(id: string, eye: HTMLElement): void {
    this.#events.showRoi(id, eye.getAttribute('aria-pressed') === 'true');
  }
}
