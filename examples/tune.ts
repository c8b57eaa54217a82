import { decodeImage } from 'attune/data';
import { openRun, predict, tune } from 'attune/methods';

// Eight labelled images a class are enough to train on; the rest of ./photos is for testing.
const settings = {
  model: 'zoo:icon-clip',
  data: './photos',
  shots: 8,
  method: 'coop',
  options: { epochs: 50 },
};
for await (const event of tune({ settings, seeds: [1], out: 'runs/photos' })) {
  if (event.type === 'train' && event.event.type === 'step') console.log(event.event.metrics);
}

const { model, adapter, config } = await openRun('runs/photos');
const classifier = await adapter.classifier(model, config.classes, config.template);
const [probabilities] = await predict(model, classifier, [() => decodeImage('photo.jpg')]);
for (const [i, label] of config.classes.entries()) console.log(label, probabilities![i]);
