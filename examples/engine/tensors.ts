import { input, print, softmax } from 'attune/graph';

const q = input('q', [2, 4, 4]);
const k = input('k', [2, 6, 4]);
const scores = softmax(q.matmul(k, { transB: true, alpha: 0.5 }));

console.log(scores.shape); // → [ 2, 4, 6 ]
console.log(print({ scores }));
// → %0 = input() q : float32[2, 4, 4]
// → %1 = input() k : float32[2, 6, 4]
// → %2 = matmul(%0, %1) {transB alpha=0.5} : float32[2, 4, 6]
// → %3 = softmax(%2) {axis=2} : float32[2, 4, 6]
// → scores = %3
