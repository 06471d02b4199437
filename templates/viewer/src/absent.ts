/**
 * Stands in for modules that are imported but never called in a browser: fs and path, for the codecs
 * under Node.
 */

function refuse(): never {
  throw new Error('not bundled');
}

export const create = refuse;
export const convert = refuse;
export default {};
