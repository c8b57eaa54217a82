import { expect, test } from 'vitest';
import { didYouMean, nearest } from './nearest.ts';

test('nearest names come first, far ones not at all', () => {
  expect(nearest('copp', ['coop', 'linear', 'cocoop', 'zero-shot'])).toEqual(['coop']);
  expect(nearest('tset', ['text', 'test'])[0]).toBe('test');
  expect(nearest('xyz', ['coop', 'linear'])).toEqual([]);
  expect(nearest('COOP', ['coop'])).toEqual(['coop']);
  expect(nearest('a', [])).toEqual([]);
});

test('a missing prefix or ending is near, duplicates are listed once, the count is kept', () => {
  const names = ['text_model.final_layer_norm.weight', 'text_model.final_layer_norm.bias', 'logit_scale'];
  expect(nearest('final_layer_norm.weight', [...names, ...names])[0]).toBe(names[0]);
  expect(nearest('layer1', ['layer2', 'layer3', 'layer4', 'layer5'], 2)).toHaveLength(2);
});

test('didYouMean reads as the end of a sentence', () => {
  expect(didYouMean('copp', ['coop', 'cop'])).toBe(' (did you mean "coop" or "cop"?)');
  expect(didYouMean('xyz', ['coop'])).toBe('');
});
