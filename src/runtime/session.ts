import {
  type Device,
  type DType,
  type EncodedModel,
  emptyArray,
  type HostTensor,
  sizeOf,
  type TypedArray,
} from '../graph/index.ts';
import { defaultDevice, defaultThreads, loadOrt, type Ort, onNode } from './ort.ts';

/** Named values that a run takes. */
export type Feeds = Record<string, HostTensor>;

/** An ONNX model, the types of its outputs, and whether frozen matrices are kept in another layout: `worthPrepacking`. */
export type Model = Pick<EncodedModel, 'bytes' | 'outputs'> & { readonly prepack: boolean };

/** How a model is loaded; plain data, since it may travel to a worker. */
export interface SessionOptions {
  /**
   * Where the program runs: `cpu` (default in Node), `cuda`, `webgpu`, or `wasm` (default in a browser, which has
   * `webgpu` besides). docs/devices.md says what each needs.
   */
  device?: Device;
  /**
   * Threads of one operator; default `ATTUNE_THREADS`, else ONNX Runtime's choice (the physical cores). In a browser they
   * need a page that is cross-origin isolated, and the first program that is loaded decides for all.
   */
  threads?: number;
  /** An error that names them where nodes would leave the device, instead of a warning (default false). */
  strict?: boolean;
  /** Where ONNX Runtime begins the names of its profiles, JSON that is written when the model is released. CPU in Node. */
  profile?: string;
}

/** A loaded model that runs. */
export interface Session {
  /** Runs once; the arrays of the results are the caller's. Those of `spare`, by output, may be used for them. */
  run(feeds: Feeds, spare: Feeds): Promise<Record<string, TypedArray>>;
  /** Frees the model. Runs must be done. */
  release(): Promise<void>;
}

/** ONNX Runtime's failures are thrown; it need not print them as well. */
const SILENT = 4;

/**
 * Arrays of at least so many elements are used again: below, handing them over costs more than it saves. In Node only: in a
 * browser ONNX Runtime would leave such an array as it was.
 */
const LARGE = 16_384;

/** Loads an ONNX model in this thread. Weight locations are absolute paths. */
export async function openSession(
  { bytes, outputs, prepack }: Model,
  { device = defaultDevice, threads = defaultThreads, strict, profile }: SessionOptions,
): Promise<Session> {
  requireDevice(device);
  const ort = await loadOrt(device);
  if (!onNode && threads) ort.env.wasm.numThreads = threads;
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: [device],
    // Its plan is one more block for all values, beside those of the first run: twice the memory, and no faster.
    enableMemPattern: false,
    ...(threads ? { intraOpNumThreads: threads } : {}),
    logSeverityLevel: SILENT,
    ...(profile !== undefined && { enableProfiling: true, profileFilePrefix: profile }),
    extra: {
      session: {
        // ONNX Runtime wants locations relative to a folder.
        ...(onNode ? { model_external_initializers_file_folder_path: '/' } : {}),
        set_denormal_as_zero: '1',
        ...(prepack ? {} : { disable_prepacking: '1' }),
        ...(strict ? { disable_cpu_ep_fallback: '1' } : {}),
      },
    },
  }).catch((error: Error) => {
    throw unavailable(device, error) ?? error;
  });
  return {
    async run(feeds, spare) {
      const tensor = ({ dtype, data, shape }: HostTensor): Ort.Tensor => {
        const made = new ort.Tensor(dtype as 'float32', data as Float32Array, shape);
        // Where JavaScript has a Float16Array the tensor makes one of the bits, which Node's binding cannot read.
        if (dtype === 'float16') Object.defineProperty(made, 'data', { value: data });
        return made;
      };
      const tensors: Record<string, Ort.Tensor> = {};
      for (const [name, value] of Object.entries(feeds)) tensors[name] = tensor(value);
      const fetches: Record<string, Ort.Tensor | null> = {};
      for (const { name, dtype } of outputs) {
        const array = spare[name];
        const used = onNode && array?.dtype === dtype && array.data.length >= LARGE;
        fetches[name] = used ? tensor(array) : null;
      }
      const results = await session.run(tensors, fetches, { logSeverityLevel: SILENT });
      const arrays: Record<string, TypedArray> = {};
      for (const { name, dtype, shape } of outputs) {
        const { data } = fetches[name] ?? results[name]!;
        arrays[name] = sizeOf(shape) === 0 ? emptyArray(dtype, 0) : bits(data as TypedArray, dtype);
      }
      return arrays;
    },
    async release() {
      if (profile !== undefined) session.endProfiling();
      await session.release();
    },
  };
}

/** float16 as bits, where ONNX Runtime gives a Float16Array. */
const bits = (data: TypedArray, dtype: DType): TypedArray =>
  dtype === 'float16' && !(data instanceof Uint16Array)
    ? new Uint16Array(data.buffer, data.byteOffset, data.length)
    : data;

function requireDevice(device: Device): void {
  const here: Device[] = onNode ? ['cpu', 'cuda', 'webgpu'] : ['wasm', 'webgpu'];
  if (here.includes(device)) return;
  throw new Error(
    `device "${device}" does not exist in ${onNode ? 'Node' : 'a browser'}: ${here.join(', ')}`,
  );
}

/** ONNX Runtime's words for a device that is not there, and what to do. */
function unavailable(device: Device, cause: Error): Error | undefined {
  if (device === 'cuda' && /load shared library|CUDA/.test(cause.message)) {
    return new Error(
      'device "cuda": ONNX Runtime cannot load its CUDA libraries. They are for Linux on x64, and come with ' +
        '`npm rebuild onnxruntime-node --ignore-scripts=false --onnxruntime-node-install=cuda12`; CUDA 12 and cuDNN 9 ' +
        `must be installed (docs/devices.md). ${cause.message}`,
      { cause },
    );
  }
  if (
    device === 'webgpu' &&
    /adapter|WebGPU is not (available|supported)|navigator\.gpu/i.test(cause.message)
  ) {
    return new Error(
      `device "webgpu": no GPU was found; it needs ${onNode ? 'a driver for Vulkan, Metal or D3D12' : 'a browser with WebGPU'} ` +
        `(docs/devices.md). ${cause.message}`,
      { cause },
    );
  }
  return undefined;
}
