import { z } from 'zod';
import { type Activation, activations, type Intercept, normalInit, zerosInit } from '../../nn/index.ts';
import { familyOf, modulesOf, targeted } from '../lm/families.ts';
import { defineLanguageMethod } from '../lm/method.ts';
import { tuningOptions } from '../lm/options.ts';

/** h + W_up σ(W_down h + b_down) + b_up, behind the attention and the feed-forward part, before each residual sum. */
export const adapters = defineLanguageMethod({
  name: 'adapters',
  summary: 'small networks with a bottleneck behind attention and feed-forward parts',
  paper: 'Houlsby et al., ICML 2019, arXiv 1902.00751; Pfeiffer et al., EACL 2021, arXiv 2005.00247',
  options: z.strictObject({
    bottleneck: z.int().nonnegative().default(0).describe('units in the middle; 0: a 32nd of the width'),
    placement: z
      .enum(['houlsby', 'pfeiffer'])
      .default('houlsby')
      .describe('behind both parts of a layer, or the feed-forward part alone'),
    activation: z
      .enum(Object.keys(activations) as [Activation])
      .default('gelu')
      .describe('σ'),
    trainNorms: z.boolean().default(true).describe('train the normalisations too'),
    ...tuningOptions({ rate: 1e-3 }),
  }),
  inject({ model }, o) {
    const family = familyOf(model);
    const middle = o.bottleneck || Math.max(1, Math.round(model.model.width / 32));
    const adapted =
      (path: string): Intercept =>
      (x, { param }) => {
        const at = (name: string) => `${path}.adapter.${name}`;
        const width = x.dim(-1);
        const down = param(at('down.weight'), [middle, width], normalInit(0.01));
        const up = param(at('up.weight'), [width, middle], zerosInit);
        const inner = x.matmul(down, { transB: true }).add(param(at('down.bias'), [middle], zerosInit));
        const change = activations[o.activation](inner).matmul(up, { transB: true });
        return x.add(change.add(param(at('up.bias'), [width], zerosInit)));
      };
    const modules = modulesOf(model);
    const attention = targeted(modules, [family.attentionOut]);
    const feedForward = targeted(modules, [family.feedForwardOut]).filter((m) => !attention.includes(m));
    const sites = [...(o.placement === 'houlsby' ? attention : []), ...feedForward].map(
      ({ path }) => [`${path}:out`, adapted(path)] as const,
    );
    const train: Intercept = (_w, match) => match.train();
    const norms = o.trainNorms ? family.norms.map((name) => [name, train] as const) : [];
    return { intercept: { tap: Object.fromEntries(sites), weight: Object.fromEntries(norms) } };
  },
});
