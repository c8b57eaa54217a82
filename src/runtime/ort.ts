import type * as Ort from 'onnxruntime-node';
import type { Device } from '../graph/index.ts';

export type { Ort };

/** Node, or a browser: all that this room needs to know of where it runs. */
export const onNode = typeof process !== 'undefined' && Boolean(process.versions?.node);

/** What is there without asking for more. */
export const defaultDevice: Device = onNode ? 'cpu' : 'wasm';

/** `ATTUNE_THREADS`, for processes that share a machine. */
export const defaultThreads = (onNode && Number(process.env.ATTUNE_THREADS)) || undefined;

const SHARED = Symbol.for('onnxruntime');
type Build = 'default' | 'webgpu' | 'jspi';
const loading = new Map<Build, Promise<typeof Ort>>();

/** ONNX Runtime, loaded on first use. One that another library (transformers.js) has registered is shared. */
export function loadOrt(device: Device): Promise<typeof Ort> {
  const shared = (globalThis as Record<symbol, unknown>)[SHARED] as typeof Ort | undefined;
  if (shared) return Promise.resolve(shared);
  const build = onNode || device !== 'webgpu' ? 'default' : hasJspi ? 'jspi' : 'webgpu';
  const known = loading.get(build) ?? load(build);
  loading.set(build, known);
  return known;
}

/**
 * package.json (`imports`) says what each build is: in Node all are `onnxruntime-node`. In a browser the one for WebGPU
 * is smaller by a third where WebAssembly can wait for promises.
 */
async function load(build: Build): Promise<typeof Ort> {
  const module = await (build === 'default'
    ? import('#onnxruntime')
    : build === 'jspi'
      ? import('#onnxruntime/jspi')
      : import('#onnxruntime/webgpu'));
  return 'default' in module ? (module.default as typeof Ort) : module;
}

/** JavaScript Promise Integration. */
const hasJspi = 'Suspending' in ((globalThis as { WebAssembly?: object }).WebAssembly ?? {});
