/**
 * The decoder: from files to pixels, by Cornerstone's codecs, behind one message port.
 *
 * Built on its own and wrapped in a function (see vite.config.mjs), because the page must be one
 * script: the function runs as it is on the main thread, or its text becomes a blob worker.
 */

import { expose, transfer } from 'comlink';
import type { Endpoint } from 'comlink';
import { prepare } from './prepare.ts';
import type { Prepared } from './prepare.ts';

/** The port to answer on: the parameter of the wrapping function. */
declare const cxrEndpoint: Endpoint & { postMessage(message: unknown): void };

/** What lies behind the port. */
export interface Decoder {
  ready(): boolean;
  prepare(bytes: ArrayBuffer, draw: boolean): Promise<Prepared>;
}

const decoder: Decoder = {
  ready: () => true,
  prepare: async (bytes, draw) => {
    const made = await prepare(bytes, draw);
    const moved = [made.pixels.buffer, made.counts.numbers.buffer, ...(made.drawn ? [made.drawn] : [])];
    return transfer(made, moved as Transferable[]);
  },
};

expose(decoder, cxrEndpoint);
