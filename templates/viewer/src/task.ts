/**
 * What the page was asked: the template's `data-task`, read without trusting its shape.
 */

import type { LabelSet } from './findings.ts';
import { finite, isRecord, items, record, strings, text, texts } from './given.ts';
import type { Given } from './given.ts';
import { parseOpinion } from './opinions.ts';
import type { Opinion } from './opinions.ts';

/** How the job wants the page. */
export interface PageSettings {
  /** names of the tools that show; null all */
  readonly tools: readonly string[] | null;
  /** findings that ask for a region when present */
  readonly askRoi: readonly string[];
  /** the job's own windows, in values after the modality LUT */
  readonly windows: readonly { readonly name: string; readonly center: number; readonly width: number }[];
  /** command to key */
  readonly keys: Readonly<Record<string, string>>;
  /** mouse button (left, middle, right) to tool */
  readonly mouse: Readonly<Record<string, string>>;
  /** whether there are fields of free text, which can name a patient */
  readonly comments: boolean;
  /** whether an answer holds the image's UIDs; the job's own manifest has them anyway */
  readonly uids: boolean;
}

/** A picture in the instructions. */
export interface Example {
  readonly url: string;
  readonly caption: string;
}

/** What the job lets a reader know of the patient; most jobs nothing. */
export interface Shown {
  readonly age: number | null;
  readonly sex: string;
  readonly indication: string;
}

/** Another image of the patient, to look at and not to answer on. */
export interface Companion {
  readonly kind: string;
  readonly imageUrl: string;
  readonly says: string;
}

export interface Task extends LabelSet {
  readonly imageUrl: string;
  readonly source: string;
  readonly jobId: string;
  readonly itemId: string;
  readonly instructions: string;
  readonly templateSha: string;
  readonly viewerSha: string;
  readonly page: PageSettings;
  readonly examples: readonly Example[];
  readonly shown: Shown;
  readonly unit: 'image' | 'study';
  readonly companions: readonly Companion[];
  /** what the blinded readers said; only where disputes are decided */
  readonly opinions: readonly Opinion[];
  /** findings they did not agree on */
  readonly disputed: readonly string[];
}

export class TaskError extends Error {}

/**
 * Args: json: the attribute; imageUrl: the template's signed address, which wins over the task's.
 */
export function parseTask(json: string, imageUrl: string): Task {
  let given: unknown;
  try {
    given = JSON.parse(json);
  } catch {
    throw new TaskError('expected the task as JSON');
  }
  return readTask(given, imageUrl);
}

/** Args: addresses: the template's, one a companion with blanks between; they win over the task's. */
export function withAddresses(task: Task, addresses: string): Task {
  const given = addresses.split(/\s+/).filter((one) => one !== '');
  if (given.length !== task.companions.length) return task;
  return { ...task, companions: task.companions.map((one, i) => ({ ...one, imageUrl: given[i]! })) };
}

/** Read a task that is JSON no more, as the portal's replies carry it. */
export function readTask(given: unknown, imageUrl = ''): Task {
  if (!isRecord(given)) throw new TaskError('expected the task as a JSON object');
  const labels = strings(given['labels']);
  if (labels.length === 0) throw new TaskError('expected at least one label in the task');
  const known = (name: string): boolean => labels.includes(name);
  const opinions = items(given['opinions'], (one) => parseOpinion(one, labels));
  return {
    ...readLabels(given, labels),
    follows: opinions.length > 0,
    imageUrl: imageUrl || text(given['imageUrl']),
    source: text(given['source']),
    jobId: text(given['jobId']),
    itemId: text(given['itemId']) || text(given['source']),
    instructions: text(given['instructions']),
    templateSha: text(given['templateSha']),
    viewerSha: text(given['viewerSha']),
    page: readPage(record(given['page']), known),
    examples: items(given['examples'], (one) =>
      text(one['url']) === '' ? null : { url: text(one['url']), caption: text(one['caption']) },
    ),
    shown: readShown(record(given['shown'])),
    unit: given['unit'] === 'study' ? 'study' : 'image',
    companions: items(given['companions'], readCompanion),
    opinions,
    disputed: strings(given['disputed']).filter(known),
  };
}

function readLabels(given: Given, labels: readonly string[]): Omit<LabelSet, 'follows'> {
  const known = (name: string): boolean => labels.includes(name);
  const noFinding = text(given['noFinding']);
  return {
    labels,
    noFinding: known(noFinding) ? noFinding : null,
    compatible: strings(given['compatible']).filter(known),
    parents: Object.fromEntries(
      Object.entries(record(given['parents']))
        .filter(([parent]) => known(parent))
        .map(([parent, children]) => [parent, strings(children).filter(known)]),
    ),
  };
}

function readPage(given: Given, known: (label: string) => boolean): PageSettings {
  return {
    tools: Array.isArray(given['tools']) ? strings(given['tools']) : null,
    askRoi: strings(given['askRoi']).filter(known),
    windows: items(given['windows'], (one) => {
      const [name, center, width] = [text(one['name']), finite(one['center']), finite(one['width'])];
      return name === '' || center === null || width === null || width <= 0 ? null : { name, center, width };
    }),
    keys: texts(given['keys']),
    mouse: texts(given['mouse']),
    comments: given['comments'] !== false,
    uids: given['uids'] !== false,
  };
}

function readShown(given: Given): Shown {
  const age = finite(given['age']);
  return {
    age: age !== null && age >= 0 ? age : null,
    sex: text(given['sex']).trim(),
    indication: text(given['indication']).trim(),
  };
}

function readCompanion(given: Given): Companion | null {
  const imageUrl = text(given['imageUrl']);
  const kind = text(given['kind']) || 'other';
  return imageUrl === '' ? null : { kind, imageUrl, says: text(given['says']) || kind };
}
