/**
 * Where pixels are decoded: in a blob worker, or here where a sandbox or a policy forbids workers.
 */

import { getWebWorkerManager } from '@cornerstonejs/core';
import { wrap } from 'comlink';
import decoder from 'virtual:decoder';

const START_MS = 4000;

interface Decoder {
  ready(): boolean;
}

/** Where decoding happens, for the status line and the tests. */
export type DecodeThread = 'worker' | 'main';

/**
 * Start a decoder and register it under the name Cornerstone's loader calls. (Its own `init` would
 * start a worker from a URL, which a one-script page cannot have; image.ts does not call it.)
 */
export async function registerDecoder(): Promise<DecodeThread> {
  const worker = await startWorker();
  const endpoint = worker ?? startHere();
  getWebWorkerManager().registerWorker('dicomImageLoader', () => endpoint as Worker, {
    maxWorkerInstances: 1,
  });
  return worker === null ? 'main' : 'worker';
}

async function startWorker(): Promise<Worker | null> {
  const source = new Blob([`"use strict";(${decoder.toString()})(self);`], {
    type: 'text/javascript',
  });
  const url = URL.createObjectURL(source);
  try {
    const worker = new Worker(trusted(url));
    // a policy that forbids the worker may throw, fire an error, or stay silent
    const answered = await new Promise<boolean>((resolve) => {
      worker.addEventListener('error', () => resolve(false), { once: true });
      setTimeout(() => resolve(false), START_MS);
      wrap<Decoder>(worker)
        .ready()
        .then(resolve, () => resolve(false));
    });
    if (answered) return worker;
    worker.terminate();
  } catch {
    // SecurityError: decode on the main thread
  } finally {
    URL.revokeObjectURL(url);
  }
  return null;
}

/** For a policy with `require-trusted-types-for 'script'; trusted-types cxr-decoder`. */
function trusted(url: string): string {
  const types = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes;
  return types?.createPolicy('cxr-decoder', { createScriptURL: (own) => own }).createScriptURL(url) ?? url;
}

interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { createScriptURL(url: string): string },
  ): { createScriptURL(url: string): string };
}

function startHere(): MessagePort & { terminate: () => void } {
  const { port1, port2 } = new MessageChannel();
  decoder(port1);
  return Object.assign(port2, { terminate: () => port2.close() });
}
