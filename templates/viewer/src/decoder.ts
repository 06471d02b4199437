/**
 * The decoder: Cornerstone's codecs behind one message port.
 *
 * Built on its own and wrapped in a function (see vite.config.mjs), because the page must be one
 * script: the function runs as it is on the main thread, or its text becomes a blob worker.
 */

import { decodeImageFrame } from 'cornerstone-decode-frame';
import { expose } from 'comlink';
import type { Endpoint } from 'comlink';

/** The port to answer on: the parameter of the wrapping function. */
declare const cxrEndpoint: Endpoint & { postMessage(message: unknown): void };

interface DecodeTask {
  imageFrame: unknown;
  transferSyntax: string;
  pixelData: unknown;
  decodeConfig: unknown;
  options: unknown;
  callbackFn?: unknown;
}

expose(
  {
    ready: () => true,
    decodeTask: (task: DecodeTask) =>
      decodeImageFrame(
        task.imageFrame,
        task.transferSyntax,
        task.pixelData,
        task.decodeConfig,
        task.options,
        task.callbackFn,
      ),
  },
  cxrEndpoint,
);
