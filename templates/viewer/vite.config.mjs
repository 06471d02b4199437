/**
 * Builds the worker page's viewer: one classic script that asks the network for nothing.
 *
 * Ground Truth runs no `type="module"` scripts and forbids workers from URLs, and Cornerstone3D
 * 5.14's decoders fetch their codecs by `new URL(..., import.meta.url)`; the rewrites below take
 * that out. Each is checked: a rewrite that finds nothing stops the build.
 */

import { createHash } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, defineConfig } from 'vite';

const here = dirname(fileURLToPath(import.meta.url));
const src = (name) => join(here, 'src', name);
const cornerstone = (path) => join(here, 'node_modules/@cornerstonejs', path);
const posix = (id) => id.split('?')[0].replaceAll('\\', '/');

const alias = [
  { find: /^(fs|path)$/, replacement: src('absent.ts') },
  {
    find: /^cornerstone-decode-frame$/,
    replacement: cornerstone('dicom-image-loader/dist/esm/decodeImageFrameWorker.js'),
  },
];
const define = { 'process.env.NODE_ENV': '"production"' };

/** Replace exactly one match, or fail: Cornerstone changed under us. */
function swap(code, pattern, replacement) {
  if (code.match(new RegExp(pattern, 'g'))?.length !== 1) {
    throw new Error(`expected one ${pattern} in a Cornerstone file; was it updated?`);
  }
  return code.replace(pattern, () => replacement);
}

function selfContained() {
  const codec = /new URL\('(@cornerstonejs\/codec-[^']+)', import\.meta\.url\)/;
  return {
    name: 'cxr-self-contained',
    enforce: 'pre',
    async transform(code, id) {
      const file = posix(id);
      if (file.endsWith('/dicom-image-loader/dist/esm/decodeImageFrameWorker.js')) {
        // in a worker it answers on the port by itself, and before decoder.ts does
        return { code: swap(code, /if \(workerEndpoint\) \{\n    expose\(obj, workerEndpoint\);\n\}/, ''), map: null };
      }
      if (file.endsWith('/shared/decoders/decodeJPEGXL.js')) {
        const refuse = 'throw new Error("JPEG XL is not bundled")';
        return { code: `export default async function () { ${refuse} }`, map: null };
      }
      if (file.includes('/shared/decoders/') && codec.test(code)) {
        const wasm = await this.resolve(codec.exec(code)[1], id);
        const base64 = readFileSync(posix(wasm.id)).toString('base64');
        // handing the bytes over spares the page a fetch of data:, and its policy connect-src data:
        let next = swap(code, codec, 'undefined');
        next = swap(next, /locateFile: \(f\) => \{/, 'wasmBinary: wasmBytes(), print: () => {}, locateFile: (f) => {');
        next = swap(next, /resolveWasmUrl\('[^']+', \w+\)/, 'f');
        next += `\nfunction wasmBytes() { return Uint8Array.from(atob('${base64}'), (c) => c.charCodeAt(0)); }`;
        return { code: next, map: null };
      }
      return null;
    },
  };
}

/** `virtual:decoder`: src/decoder.ts built to text and wrapped in a function of its endpoint. */
function decoder() {
  return {
    name: 'cxr-decoder',
    resolveId: (id) => (id === 'virtual:decoder' ? '\0virtual:decoder' : null),
    async load(id) {
      if (id !== '\0virtual:decoder') return null;
      const output = await build({
        configFile: false,
        root: here,
        logLevel: 'warn',
        define,
        resolve: { alias },
        plugins: [selfContained()],
        build: {
          write: false,
          target: 'es2022',
          license: { fileName: 'licenses.md' },
          lib: { entry: src('decoder.ts'), formats: ['iife'], name: 'cxrDecoder', fileName: 'd' },
          rolldownOptions: { output: { codeSplitting: false } },
        },
      });
      const { output: files } = [output].flat()[0];
      const chunk = files.find((file) => file.type === 'chunk');
      const licenses = files.find((file) => file.fileName === 'licenses.md');
      this.emitFile({ type: 'asset', fileName: 'licenses-decoder.md', source: licenses.source });
      return { code: `export default function decoder(cxrEndpoint) {\n${chunk.code}\n}`, map: null };
    },
  };
}

/** Name the script by its content, and say so in dist/viewer.json. */
function nameByContent() {
  return {
    name: 'cxr-name-by-content',
    writeBundle({ dir }) {
      const built = join(dir, 'viewer.js');
      const sha256 = createHash('sha256').update(readFileSync(built)).digest('hex');
      const file = `viewer-${sha256.slice(0, 16)}.js`;
      renameSync(built, join(dir, file));
      writeFileSync(join(dir, 'viewer.json'), JSON.stringify({ file, sha256 }) + '\n');
    },
  };
}

export default defineConfig({
  root: here,
  define,
  resolve: { alias },
  plugins: [selfContained(), decoder(), nameByContent()],
  build: {
    outDir: join(here, 'dist'),
    license: { fileName: 'licenses.md' },
    emptyOutDir: true,
    target: 'es2022',
    reportCompressedSize: false,
    chunkSizeWarningLimit: 10_000,
    lib: { entry: src('main.ts'), formats: ['iife'], name: 'cxrViewer', fileName: () => 'viewer.js' },
    rolldownOptions: { output: { codeSplitting: false } },
  },
});
