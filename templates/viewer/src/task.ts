/**
 * What the page was asked: the template's `data-task`, read without trusting its shape.
 */

import type { LabelSet } from './findings.ts';

export interface Task extends LabelSet {
  readonly imageUrl: string;
  readonly source: string;
  readonly jobId: string;
  readonly itemId: string;
  readonly instructions: string;
  readonly templateSha: string;
  readonly viewerSha: string;
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
  if (!isRecord(given)) throw new TaskError('expected the task as a JSON object');
  const labels = strings(given['labels']);
  if (labels.length === 0) throw new TaskError('expected at least one label in the task');
  const known = (name: string): boolean => labels.includes(name);
  const noFinding = text(given['noFinding']);
  const parents = isRecord(given['parents']) ? given['parents'] : {};
  return {
    labels,
    noFinding: known(noFinding) ? noFinding : null,
    compatible: strings(given['compatible']).filter(known),
    parents: Object.fromEntries(
      Object.entries(parents)
        .filter(([parent]) => known(parent))
        .map(([parent, children]) => [parent, strings(children).filter(known)]),
    ),
    imageUrl: imageUrl || text(given['imageUrl']),
    source: text(given['source']),
    jobId: text(given['jobId']),
    itemId: text(given['itemId']) || text(given['source']),
    instructions: text(given['instructions']),
    templateSha: text(given['templateSha']),
    viewerSha: text(given['viewerSha']),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? [...new Set(value.filter((v) => typeof v === 'string'))] : [];
}
