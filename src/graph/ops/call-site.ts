/** The folder of the package, `src/` or `dist/`, as stack frames write it. */
const HOME = import.meta.url.replace(/([^/]*\/){2}[^/]*$/, '');

/**
 * ` at file:line:column` of the innermost stack frame outside the package, or nothing where there is none. The
 * package's own tests count as outside. Called only once there is an error.
 */
export function callSite(stack = wholeStack(), home = HOME): string {
  for (const line of stack.split('\n')) {
    const frame = /(?:\(|at |@)((?:\w+:\/\/)?[^\s()@]*:\d+:\d+)\)?$/.exec(line)?.[1];
    if (!frame || frame.startsWith('node:')) continue;
    const place = withoutScheme(frame);
    if (!place.startsWith(withoutScheme(home)) || /\.test\.\w+[:?]/.test(place)) return ` at ${place}`;
  }
  return '';
}

const withoutScheme = (place: string): string => place.replace(/^file:\/\//, '');

/** V8 keeps ten frames unless told otherwise: a model's functions nest deeper. */
function wholeStack(): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 100;
  const { stack = '' } = new Error();
  Error.stackTraceLimit = limit;
  return stack;
}
