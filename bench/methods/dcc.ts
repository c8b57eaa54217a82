import { constant, grad, type HostTensor, i64, input } from '../../src/graph/index.ts';
import { gradientDistance } from '../../src/methods/dcc/distance.ts';
import { labelsByClass } from '../../src/methods/dcc/images.ts';
import { Matching } from '../../src/methods/dcc/matching.ts';
import { Network } from '../../src/methods/dcc/network.ts';
import { imageClassifier } from '../../src/models/classifiers/index.ts';
import { mapTree, type Tree } from '../../src/nn/index.ts';
import type { Values } from '../../src/train/index.ts';
import { type Benchmark, freshWeights } from '../benchmark.ts';
import { noise } from '../data.ts';

const [classes, real, synthetic] = [10, 32, 10];
const shape = [3, 32, 32] as const;
const convNet = imageClassifier('convnet-3', classes);
const labels = labelsByClass(classes, synthetic);
const newNetwork = () => new Network(convNet, shape, { learningRate: 0.01 });

const rowsOf = ({ data }: HostTensor, c: number) => ({
  dtype: 'float32' as const,
  shape: [real, ...shape],
  data: (data as Float32Array).subarray((c * data.length) / classes, ((c + 1) * data.length) / classes),
});

/** What `attune distill` does between two epochs of the network. */
export const dccStep: Benchmark = {
  name: 'dcc',
  about: `DCC's step: ConvNet-3's gradients on ${real} real images of each of ${classes} classes, on ${classes * synthetic} synthetic images, and the latter's move, SGD with momentum`,
  torch: { script: 'images', settings: { model: 'dcc' } },
  tolerance: 1e-2,
  async prepare() {
    const images = { real: noise('real', [classes, real, ...shape]) };
    const net = await freshWeights((s) => convNet(s, input('images', [1, ...shape])));
    return {
      weights: { ...net, synthetic: noise('synthetic', [classes * synthetic, ...shape]) },
      batch: images,
    };
  },
  graph() {
    const network = newNetwork();
    const net = network.inputs();
    const names = network.params.filter((p) => p.shape.length > 1).map((p) => p.name);
    const images = input('synthetic', [classes * synthetic, ...shape]);
    const wanted = Array.from({ length: classes }, (_, c) =>
      network.gradients(
        net,
        names,
        input(`real ${c}`, [real, ...shape]),
        constant(i64(new Array<number>(real).fill(c))),
      ),
    ).reduce<Tree>((sum, g) => mapTree(g, (t, name) => sum[name]?.add(t) ?? t), {});
    const own = network.gradients(net, names, images, constant(i64(labels)));
    return grad(gradientDistance('rows', own, wanted), [images]);
  },
  async start(source, batch, compile) {
    const values: Values = {};
    for (const name of source.names()) values[name] = await source.get(name)!.load();
    const { synthetic: first, ...net } = values;
    const matching = new Matching(newNetwork(), {
      classes,
      imagesPerClass: synthetic,
      realBatch: real,
      distance: 'rows',
      learningRate: 0.1,
      momentum: 0.5,
      dsa: false,
      compile,
    });
    let state = matching.start(first as HostTensor<'float32'>);
    const changes = Array.from({ length: classes }, () => undefined);
    return {
      async step() {
        const wanted: Values[] = [];
        for (let c = 0; c < classes; c++)
          wanted.push(await matching.realGradients(net, c, { images: rowsOf(batch.real!, c) }));
        const next = await matching.contrastive(state, net, wanted, changes);
        state = next.state;
        return next.loss;
      },
      results: () => ({ synthetic: Object.values(state.optimizer)[0]! }),
      release: () => matching.release(),
    };
  },
};
