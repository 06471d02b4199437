/**
 * Where pixels are decoded: in a blob worker, or here where a sandbox or a policy forbids workers.
 */

import { transfer, wrap } from 'comlink';
import type { Remote } from 'comlink';
import decoder from 'virtual:decoder';
import type { Decoder } from './decoder.ts';
import { ImageError } from './file.ts';
import type { Prepared } from './prepare.ts';

const START_MS = 4000;

/** Where decoding happens, for the tests. */
export type DecodeThread = 'worker' | 'main';

interface Started {
  readonly thread: DecodeThread;
  readonly remote: Remote<Decoder>;
}

let started: Promise<Started> | null = null;

/** Start the decoder, once; gives where it runs. */
export async function startDecoder(): Promise<DecodeThread> {
  started ??= start();
  return (await started).thread;
}

/**
 * Give a file's pixels and greys; its bytes are gone from here then. Throws ImageError.
 *
 * Args: early: there is time to draw the picture too, where that stops nobody.
 */
export async function prepareFile(bytes: ArrayBuffer, early: boolean): Promise<Prepared> {
  started ??= start();
  const { thread, remote } = await started;
  try {
    return await remote.prepare(transfer(bytes, [bytes]), early && thread === 'worker');
  } catch (error) {
    throw new ImageError(error instanceof Error ? error.message : String(error));
  }
}

async function start(): Promise<Started> {
  const remote = await startWorker();
  return remote === null ? { thread: 'main', remote: startHere() } : { thread: 'worker', remote };
}

async function startWorker(): Promise<Remote<Decoder> | null> {
  const source = new Blob([`"use strict";(${decoder.toString()})(self);`], {
    type: 'text/javascript',
  });
  const url = URL.createObjectURL(source);
  try {
    const worker = new Worker(trusted(url));
    // the only wrapping of it: one that is garbage collected closes the worker's port
    const remote = wrap<Decoder>(worker);
    // a policy that forbids the worker may throw, fire an error, or stay silent
    const answered = await new Promise<boolean>((resolve) => {
      worker.addEventListener('error', () => resolve(false), { once: true });
      setTimeout(() => resolve(false), START_MS);
      remote.ready().then(resolve, () => resolve(false));
    });
    if (answered) return remote;
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

function startHere(): Remote<Decoder> {
  const { port1, port2 } = new MessageChannel();
  decoder(port1);
  return wrap<Decoder>(port2);
}
