/** Symbolic tensors, their ops, gradients, printing and ONNX encoding. */
export { type GradOptions, grad, hvp, jvp, nodesOf, vjp } from './grad.ts';
export * from './host.ts';
export { type EncodedModel, type EncodeOptions, encodeOnnx } from './onnx/encode.ts';
export { encodeFree, type FreeModel, type FreeSize } from './onnx/free.ts';
export { type ImportedModel, type ImportOptions, importOnnx } from './onnx/import.ts';
export { type Device, hasInt64, lower } from './onnx/lower.ts';
export type { Memory } from './onnx/memory.ts';
export * from './ops/index.ts';
export { print } from './print.ts';
export type { CustomGradient, OpName, TensorType } from './rule.ts';
export { simplify } from './simplify/simplify.ts';
export {
  applyAll,
  arange,
  constant,
  constantNumber,
  input,
  type Node,
  type Operand,
  Tensor,
  weight,
} from './tensor.ts';
export { perExampleGrad, vmap } from './vmap.ts';
