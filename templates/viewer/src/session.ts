/**
 * The page's life: it starts once, and begins a reading for each image it is given.
 */

import { ImageError } from './file.ts';
import { Radiograph } from './image.ts';
import * as input from './input.ts';
import { Page } from './page.ts';
import { Panel } from './panel.ts';
import { preparePicture } from './picture.ts';
import type { Picture } from './picture.ts';
import { Reading } from './reading.ts';
import type { Room } from './reading.ts';
import { Rois } from './rois.ts';
import type { Task } from './task.ts';
import { use } from './viewing.ts';

/** The two elements of the template that the page works with. */
export interface Form {
  readonly field: HTMLInputElement;
  readonly submitButton: HTMLElement;
}

export class Session implements Room {
  readonly page: Page;
  readonly panel = new Panel();
  readonly radiograph: Radiograph;
  readonly rois: Rois;
  readonly #form: Form;
  #reading: Reading;
  #skip: string | null = null;

  constructor(root: HTMLElement, form: Form, task: Task) {
    this.#form = form;
    this.page = new Page({
      tool: (tool) => use(tool, this),
      preset: (name) => this.radiograph.ready && this.radiograph.usePreset(name),
      run: (command) => this.#reading.run(command),
      skip: (reason) => this.#submitSkip(reason),
      retry: () => void this.#load(),
    });
    this.radiograph = new Radiograph(this.page.stage, () => this.#reading.drawView());
    this.rois = new Rois(this.radiograph, {
      completed: (id) => this.#reading.completed(id),
      changed: () => this.#reading.changed(),
    });
    this.page.mount(root, this.panel.element);
    this.panel.foot.append(form.submitButton);
    this.#listen(root);
    this.#reading = this.#begin(task);
  }

  /** Show the first image. */
  async start(): Promise<void> {
    await this.radiograph.boot();
    this.rois.boot();
    use('window', this);
    await this.#load();
  }

  submit(): void {
    this.#form.submitButton.click();
  }

  #begin(task: Task): Reading {
    this.#reading = new Reading(this, task);
    this.#reading.begin();
    return this.#reading;
  }

  async #load(): Promise<void> {
    const { task } = this.#reading;
    const { dataset } = document.documentElement;
    delete dataset['cxrReady'];
    this.page.showLoading(true, null);
    try {
      const picture: Picture = await preparePicture(task.imageUrl);
      await this.radiograph.show(picture);
    } catch (error) {
      if (!(error instanceof ImageError)) console.error(error);
      this.page.showLoading(false, error instanceof ImageError ? error.message : String(error));
      return;
    }
    this.#reading.shown();
    this.page.showLoading(false, null);
    dataset['cxrItem'] = task.itemId;
    dataset['cxrReady'] = '1';
  }

  #listen(root: HTMLElement): void {
    input.listenKeys((command) => !this.page.dialogOpen && (this.#reading.run(command), true));
    input.listenActivity(
      () => this.#reading.clock,
      (ms) => this.page.showClock(ms),
    );
    input.listenStage(this.page.stage, (factor, at) => {
      if (this.radiograph.ready) this.radiograph.zoom(factor, at);
    });
    input.listenSubmit(root, () => this.#fill());
  }

  /** Write the answer into the form; false, with a word why, if there is something left to do. */
  #fill(): boolean {
    if (this.#skip === null && !this.#reading.complete()) return false;
    this.#form.field.value = JSON.stringify(this.#reading.document(this.#skip));
    return true;
  }

  #submitSkip(reason: string): void {
    this.#skip = reason;
    this.#form.submitButton.click();
    this.#skip = null; // if sending fails, the next submit is an answer again
  }
}
