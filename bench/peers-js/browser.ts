import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { createServer } from 'vite';
import type { Comparison, Row } from './compare.ts';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Runs comparisons in headless Chromium (`$CHROMIUM`, else /usr/bin/chromium), each in a page of its own. */
export async function inChromium(
  comparisons: readonly Comparison[],
  report: (row: Row) => void,
): Promise<void> {
  const server = await createServer({
    root: here('.'),
    configFile: false,
    logLevel: 'error',
    server: {
      fs: { allow: [here('../../')] },
      // Without these no page has threads.
      headers: {
        'Cross-Origin-Opener-Policy': 'same-origin',
        'Cross-Origin-Embedder-Policy': 'require-corp',
      },
    },
    optimizeDeps: {
      // Bundled beforehand: what Vite finds later reloads the page.
      include: [
        '@jax-js/jax',
        '@tensorflow/tfjs',
        '@tensorflow/tfjs-backend-wasm',
        '@tensorflow/tfjs-backend-webgpu',
      ],
      exclude: ['onnxruntime-web'],
    },
  });
  await server.listen();
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'],
  });
  try {
    for (const c of comparisons) {
      const page = await browser.newPage();
      await page.goto(`${server.resolvedUrls!.local[0]}page.html`);
      await page.waitForFunction('globalThis.compare');
      report((await page.evaluate(`compare(${JSON.stringify(c)})`)) as Row);
      await page.close();
    }
  } finally {
    await browser.close();
    await server.close();
  }
}
