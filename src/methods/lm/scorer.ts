import { input } from '../../graph/index.ts';
import type { LanguageModel } from '../../hub/index.ts';
import { mapTree, type Param, type Tree, trace } from '../../nn/index.ts';
import { compile, type Program } from '../../runtime/index.ts';
import type { Values } from '../../train/index.ts';
import { type Injection, inject, injectScope } from './injection.ts';
import { scoreOf, type TextTask, type TextTensors } from './score.ts';
import { batchTypes, batchValues, type EncodedText, type TextShape } from './texts.ts';

/** What the model says of texts. */
export interface TextScores {
  /** Mean loss. */
  readonly loss: number;
  /** Share of texts whose class, or whole target by greedy decoding, is right; minus the mean squared error of a regression. */
  readonly score: number;
  /** Of an encoder: the scores of the classes, or the number, of each text. */
  readonly logits: readonly Float32Array[];
  /** Of a model that writes: whether it writes the target. */
  readonly right: readonly boolean[];
}

/** A model with an injection on texts of one shape; the injection's parameters are fed, so that one program serves a whole training. */
export class TextScorer {
  private constructor(
    private readonly model: LanguageModel,
    private readonly task: TextTask,
    private readonly shape: TextShape,
    private readonly program: Program,
    /** What an adapter must hold. */
    readonly params: readonly Param[],
  ) {}

  static async compile(
    model: LanguageModel,
    injection: Injection,
    task: TextTask,
    shape: TextShape,
  ): Promise<TextScorer> {
    const batch = mapTree(batchTypes(model, task, shape), ({ shape, dtype }, name) =>
      input(`batch/${name}`, shape, dtype),
    ) as TextTensors;
    const { result, params } = trace(model.weights, (s) => {
      const { loss, logits, right } = scoreOf(
        injectScope(s, injection),
        inject(model, injection),
        model.heads,
        task,
        batch,
      );
      // The scores of all tokens are large, and nobody reads them.
      const outputs: Tree = { loss };
      if (model.kind === 'encoder') outputs.logits = logits;
      if (right) outputs.right = right;
      return outputs;
    });
    return new TextScorer(model, task, shape, await compile(result, { name: 'scores of texts' }), params);
  }

  async score(params: Values, texts: readonly EncodedText[]): Promise<TextScores> {
    const fed = Object.fromEntries(this.params.map(({ name }) => [`param/${name}`, params[name]!]));
    const { batch } = this.shape;
    const logits: Float32Array[] = [];
    const right: boolean[] = [];
    let loss = 0;
    for (let from = 0; from < texts.length; from += batch) {
      const own = texts.slice(from, from + batch);
      // The last batch is filled up with its last text.
      const filled = [...own, ...Array<EncodedText>(batch - own.length).fill(own.at(-1)!)];
      const values = batchValues(this.model, this.task, this.shape, filled);
      const out = await this.program.run({
        ...fed,
        ...Object.fromEntries(Object.entries(values).map(([name, value]) => [`batch/${name}`, value])),
      });
      loss += Number(out.loss!.data[0]) * own.length;
      const width = (out.logits?.data.length ?? 0) / batch;
      own.forEach((_, i) => {
        if (out.logits) logits.push((out.logits.data as Float32Array).slice(i * width, (i + 1) * width));
        if (out.right) right.push(out.right.data[i] === 1);
      });
    }
    const mean = loss / texts.length;
    const score = this.task.kind === 'regression' ? -mean : right.filter(Boolean).length / texts.length;
    return { loss: mean, score, logits, right };
  }

  release(): Promise<void> {
    return this.program.release();
  }
}
