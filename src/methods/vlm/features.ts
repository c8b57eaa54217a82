import type { Dataset, Example } from '../../data/index.ts';
import { type HostTensor, input, type Tensor } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { visionTower } from '../../models/clip/index.ts';
import { type Scope, trace } from '../../nn/index.ts';
import { compile, type Program } from '../../runtime/index.ts';

export interface FeatureOptions {
  /** Images a run. */
  readonly batch?: number;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

const keyOf = ({ name, version = '' }: Dataset, id: string): string => `${name}\n${version}\n${id}`;

/** Runs a vision tower over data sets, in batches of one fixed size. */
export class ImageFeatures {
  private readonly known = new Map<string, Float32Array>();
  private program: Promise<Program<'features'>> | undefined;

  /** @param tower the features of pixels; the frozen model's by default. */
  constructor(
    private readonly model: ClipModel,
    private readonly options: FeatureOptions = {},
    private readonly tower: (scope: Scope, pixels: Tensor) => Tensor = (s, pixels) =>
      visionTower(s, pixels, model.config).features,
  ) {}

  /** Features [N, D] of all images, not normalised. Each image is computed once, by its id. */
  async of(data: Dataset): Promise<HostTensor<'float32'>> {
    const { onProgress, signal } = this.options;
    const missing = this.missing(data);
    const batch = Math.min(this.options.batch ?? 64, Math.max(1, missing.length));
    for (let i = 0; i < missing.length; i += batch) {
      signal?.throwIfAborted();
      const part = missing.slice(i, i + batch);
      const rows = await this.run(part, batch);
      part.forEach((e, j) => {
        this.known.set(keyOf(data, e.id), rows[j]!);
      });
      onProgress?.(Math.min(i + batch, missing.length), missing.length);
    }
    const width = this.model.config.projection;
    const out = new Float32Array(data.examples.length * width);
    data.examples.forEach((e, i) => {
      out.set(this.known.get(keyOf(data, e.id))!, i * width);
    });
    return { dtype: 'float32', shape: [data.examples.length, width], data: out };
  }

  /** The images whose features are not known yet. */
  missing(data: Dataset): Example[] {
    return data.examples.filter((e) => !this.known.has(keyOf(data, e.id)));
  }

  /** Takes over a feature [D] that was computed before. */
  remember(data: Dataset, id: string, feature: Float32Array): void {
    this.known.set(keyOf(data, id), feature);
  }

  private batchSize = 0;
  private async run(examples: readonly Example[], batch: number): Promise<Float32Array[]> {
    if (!this.program || batch > this.batchSize) {
      await this.release();
      this.batchSize = batch;
      this.program = this.compile(batch);
    }
    const program = await this.program;
    const pixels = this.model.images.batch(await Promise.all(examples.map((e) => e.image())));
    // The last batch is filled up with zeros, so that one program serves all.
    const { shape } = program.inputs.get('pixels')!;
    const full = new Float32Array(shape.reduce((a, b) => a * b, 1));
    full.set(pixels.data);
    const { features } = await program.run({ pixels: { dtype: 'float32', shape, data: full } });
    const width = features.shape[1]!;
    const data = features.data as Float32Array;
    return examples.map((_, i) => data.slice(i * width, (i + 1) * width));
  }

  private compile(batch: number): Promise<Program<'features'>> {
    const { channels, imageSize } = this.model.config.vision;
    const pixels = input('pixels', [batch, channels, imageSize, imageSize]);
    const { result: features } = trace(this.model.weights, (s) => this.tower(s, pixels));
    return compile({ features }, { name: 'vision tower' });
  }

  /** Frees the program; features already computed stay. */
  async release(): Promise<void> {
    await (await this.program)?.release();
    this.program = undefined;
    this.batchSize = 0;
  }
}
