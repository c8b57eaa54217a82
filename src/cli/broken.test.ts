/** Runs that are stopped, killed, or meet a full disk end as if nothing had happened. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type * as Fs from 'node:fs/promises';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { run } from './cli.ts';
import { recorder, writeColours, writeTinyClip } from './testing/fixtures.ts';

/** While it returns true for a path, that path cannot be written. */
const disk = vi.hoisted(() => ({ isFull: (_path: string): boolean => false }));
vi.mock('node:fs/promises', async (original) => {
  const fs = await original<typeof Fs>();
  const open: typeof Fs.open = async (path, flags, mode) => {
    if (flags === 'wx' && disk.isFull(String(path))) {
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    }
    return fs.open(path, flags, mode);
  };
  return { ...fs, open };
});

const home = process.cwd();
const main = resolve('src/cli/main.ts');
const tsx = createRequire(import.meta.url).resolve('tsx');
const tiny = ['tune', '--model', 'clip', '--data', 'colours', '--shots', '4', '--epochs'];
const long = [...tiny, '2000'];
const short = [...tiny, '250'];
const adapter = (dir: string) => readFile(join(dir, 'adapter_model.safetensors'));
const children = new Set<ChildProcess>();
let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'attune-broken-'));
  process.chdir(root);
  await writeTinyClip('clip');
  await writeColours('colours');
  expect((await attune(...long, '--out', 'long')).code).toBe(0);
  expect((await attune(...short, '--out', 'short')).code).toBe(0);
}, 60_000);
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  process.chdir(home);
  await rm(root, { recursive: true });
});

async function attune(...argv: string[]) {
  const { io, text } = recorder();
  return { code: await run(argv, io), ...text };
}

/** The command line as a process of its own. */
function start(...argv: string[]) {
  const child = spawn(process.execPath, ['--import', tsx, main, ...argv], { cwd: root });
  children.add(child);
  const text = { out: '', err: '' };
  child.stdout.on('data', (s) => {
    text.out += s;
  });
  child.stderr.on('data', (s) => {
    text.err += s;
  });
  return { child, text, end: once(child, 'close') as Promise<[number | null, string | null]> };
}

async function appears(path: string): Promise<void> {
  while (!(await stat(path).catch(() => undefined))) await sleep(5);
}

test('Ctrl-C checkpoints and says how to go on; the resumed run ends with the same bits', async () => {
  const { child, text, end } = start(...long, '--out', 'stopped', '--json');
  await appears(join(root, 'stopped/checkpoint.safetensors'));
  child.kill('SIGINT');
  expect(await end).toEqual([130, null]);
  expect(text.out).toBe('');
  expect(text.err).toContain('attune: interrupted; continue with: npx attune tune --resume stopped\n');
  expect(await readdir('stopped')).not.toContain('result.json');
  expect((await attune('tune', '--resume', 'stopped')).err).toMatch(/resumed at step \d+/);
  expect(await adapter('stopped')).toEqual(await adapter('long'));
  expect(await readFile('stopped/metrics.jsonl')).toEqual(await readFile('long/metrics.jsonl'));
});

test('kill -9 at any moment, twice; the resumed run ends with the same bits', async () => {
  for (const argv of [
    [...long, '--out', 'killed'],
    ['tune', '--resume', 'killed'],
  ]) {
    const { child, text, end } = start(...argv);
    while (!text.err.includes('coop on')) await sleep(5);
    await sleep(Math.random() * 500);
    child.kill('SIGKILL');
    expect(await end).toEqual([null, 'SIGKILL']);
  }
  const { code, out } = await attune('tune', '--resume', 'killed', '--json');
  expect(code).toBe(0);
  expect(JSON.parse(out).tuned.accuracy).toBe(1);
  expect(await adapter('killed')).toEqual(await adapter('long'));
  expect((await readdir('killed')).filter((file) => file.endsWith('.tmp'))).toEqual([]);
});

test.each([
  'checkpoint.safetensors',
  'metrics.jsonl',
  'adapter_model.safetensors',
  'classifier.onnx',
  'result.json',
])('a full disk at %s: a cause, the way on, and nothing lost', async (file) => {
  const out = `full-${file}`;
  let written = 0;
  // The second time for files that are written again and again.
  const from = /^(checkpoint|metrics)/.test(file) ? 2 : 1;
  disk.isFull = (path) => path.includes(`${out}/${file}.`) && ++written >= from;
  const { code, out: printed, err } = await attune(...short, '--out', out);
  disk.isFull = () => false;
  expect([code, printed]).toEqual([1, '']);
  expect(err.trimEnd().split('\n').at(-1)).toMatch(
    new RegExp(
      `^attune: .*${file}: .*no space left on the disk.*; continue with: npx attune tune --resume ${out}$`,
    ),
  );
  expect((await attune('tune', '--resume', out)).code).toBe(0);
  expect(await adapter(out)).toEqual(await adapter('short'));
});

test('standard output is one JSON object, also at a usage error nothing else', async () => {
  const good = start('tune', '--resume', 'short', '--json');
  expect(await good.end).toEqual([0, null]);
  expect(good.text.out).toMatch(/^\{.*\}\n$/);
  expect(JSON.parse(good.text.out)).toMatchObject({ runDir: 'short', method: 'coop' });
  const bad = start('tune', '--jsn');
  expect(await bad.end).toEqual([2, null]);
  expect(bad.text).toEqual({ out: '', err: "attune: unknown option '--jsn'; (Did you mean --json?)\n" });
});
