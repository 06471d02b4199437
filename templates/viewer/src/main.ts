/**
 * The worker page: radiographs one by one, each with its findings, its regions, one answer.
 *
 * Starts itself when its script runs. In Ground Truth scripts may run again and elements may move
 * while crowd-html-elements wraps the form, so it starts once per root and looks nothing up late.
 */

import { Session } from './session.ts';
import { adopt } from './style.ts';
import { parseTask, TaskError, withAddresses } from './task.ts';

function required<T>(found: T | null): T {
  if (found === null) throw new TaskError('the template lacks its form field or submit button');
  return found;
}

function start(): void {
  const root = document.getElementById('cxr-root');
  if (!root || root.dataset['started'] === '1') return;
  root.dataset['started'] = '1';
  adopt();
  try {
    const asked = parseTask(root.dataset['task'] ?? '', root.dataset['image'] ?? '');
    const task = withAddresses(asked, root.dataset['companions'] ?? '');
    const form = {
      field: required(document.querySelector<HTMLInputElement>('input[name="annotation"]')),
      submitButton: required(document.querySelector<HTMLElement>('crowd-button[form-action="submit"]')),
    };
    new Session(root, form, task).start().catch((error: unknown) => fail(root, error));
  } catch (error) {
    fail(root, error);
  }
}

/** Only for what is wrong with the page itself; images fail in `Session`. */
function fail(root: HTMLElement, error: unknown): void {
  console.error(error);
  const message = document.createElement('p');
  message.setAttribute('role', 'alert');
  message.textContent = `This page cannot start: ${error instanceof Error ? error.message : String(error)}`;
  root.append(message);
}

if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', start);
else start();
