/** The same training steps in Node and in Chromium, on WebAssembly and on WebGPU (SwiftShader, a GPU in software). */
import { type Browser, chromium, type Page } from 'playwright-core';
import { createServer, type ViteDevServer } from 'vite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CompileOptions } from './index.ts';
import type { InPage } from './testing/browser/page.ts';
import { type JobName, trainSteps } from './testing/browser/steps.ts';
import { CHROMIUM, hasChromium } from './testing/gpu.ts';

/** Without both, a page has no SharedArrayBuffer and so no threads. */
const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};
const HTML = '<!doctype html><script type="module" src="/src/runtime/testing/browser/page.ts"></script>';

/** Serves the sources as they are. */
async function serve(): Promise<ViteDevServer> {
  const server = await createServer({
    configFile: false,
    logLevel: 'error',
    server: { watch: null, hmr: false, headers: ISOLATED },
    // As docs/devices.md tells users: bundled in advance, ONNX Runtime would not find its .wasm files.
    optimizeDeps: { noDiscovery: true },
    plugins: [
      {
        name: 'page',
        configureServer({ middlewares }) {
          middlewares.use('/page', (_request, response) => {
            response.writeHead(200, { 'Content-Type': 'text/html', ...ISOLATED }).end(HTML);
          });
        },
      },
    ],
  });
  return server.listen();
}

/** For machines that are busy with other things: shaders compile slowly on a GPU in software. */
const PATIENCE = 300_000;

describe.skipIf(!hasChromium)('in Chromium', { timeout: PATIENCE }, () => {
  let server: ViteDevServer;
  let browser: Browser;
  let page: Page;
  const errors: Error[] = [];

  beforeAll(async () => {
    server = await serve();
    browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: [
        ...['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking'],
        ...['--disable-component-update', '--disable-sync'],
        ...['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'],
      ],
    });
    page = await browser.newPage();
    page.on('pageerror', (error) => errors.push(error));
    await page.goto(new URL('/page', server.resolvedUrls!.local[0]).href);
    await page.waitForFunction('globalThis.train', undefined, { timeout: PATIENCE }).catch((cause) => {
      throw errors[0] ?? cause;
    });
  }, PATIENCE);
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });
  const inPage = (name: JobName, options: CompileOptions, steps?: number): Promise<InPage> =>
    page.evaluate(`train(${JSON.stringify(name)}, ${JSON.stringify(options)}, ${steps})`);

  for (const name of ['transformer', 'convNet'] as const) {
    for (const options of [
      { device: 'wasm', threads: 2 },
      { device: 'webgpu', strict: true },
    ] as const) {
      test(`training a ${name} on ${options.device} gives the numbers of Node`, async () => {
        const wanted = await trainSteps(name, {});
        const got = await inPage(name, options);
        for (const [i, loss] of wanted.losses.entries()) expect(got.losses[i]).toBeCloseTo(loss, 4);
        expect(got.checksum).toBeCloseTo(wanted.checksum, 4);
        expect(got.losses[2]).toBeLessThan(got.losses[0]!);
      });
    }
  }

  test('a page that trains in a worker stays responsive, and one that does not is blocked', async () => {
    expect(await page.evaluate('crossOriginIsolated')).toBe(true);
    const apart = await inPage('long', { worker: true }, 8);
    expect(apart.losses[7]).toBeLessThan(apart.losses[0]!);
    expect(apart.longestPause).toBeLessThan(apart.duration / 4);
    const here = await inPage('long', {}, 2);
    expect(here.longestPause).toBeGreaterThan(here.duration / 2);
    expect(here.losses).toEqual(apart.losses.slice(0, 2));
    expect(errors).toEqual([]);
  });
});
