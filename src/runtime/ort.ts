import type * as Ort from 'onnxruntime-node';

export type { Ort };

const SHARED = Symbol.for('onnxruntime');
let loading: Promise<typeof Ort> | undefined;

/** ONNX Runtime, loaded on first use. One that another library (transformers.js) has registered is shared. */
export function loadOrt(): Promise<typeof Ort> {
  const shared = (globalThis as Record<symbol, unknown>)[SHARED] as typeof Ort | undefined;
  loading ??= shared
    ? Promise.resolve(shared)
    : import('onnxruntime-node').then((module) =>
        'default' in module ? (module.default as typeof Ort) : module,
      );
  return loading;
}
