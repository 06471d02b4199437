/** Made by vite.config.mjs: src/decoder.ts, built and wrapped in a function. */
declare module 'virtual:decoder' {
  export default function decoder(endpoint: unknown): void;
}

/** Alias of a file the loader does not export. */
declare module 'cornerstone-decode-frame' {
  export function decodeImageFrame(
    imageFrame: unknown,
    transferSyntax: string,
    pixelData: unknown,
    decodeConfig: unknown,
    options: unknown,
    callbackFn: unknown,
  ): Promise<{ pixelData: import('./prepare.ts').Pixels }>;
}

/** MIT and Zlib licensed; ships no types. */
declare module 'pako' {
  export function inflateRaw(data: Uint8Array): Uint8Array;
}
