/** The package as npm would install it: built to JavaScript, run without a TypeScript loader. */

import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { bundledPage } from '../../src/serve/playground/bundle.js';
import {
  addressOf,
  buildArgs,
  copyOf,
  digests,
  ROOT,
  records,
  scratch,
  start,
  succeed,
  TSX,
  writeJsonl,
} from './helpers.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const entry = [join(dir, 'dist', 'bin', 'crayon.js')];
const run = (...argv: string[]) => start(argv, { entry }).ended;

beforeAll(() => {
  const build = ['--import', TSX, join(ROOT, 'scripts', 'build.ts'), '--out', join(dir, 'dist')];
  const { status, stdout, stderr } = spawnSync(process.execPath, build, { encoding: 'utf8' });
  expect(`${stdout}${stderr}`).toBe('');
  expect(status).toBe(0);
  cpSync(join(ROOT, 'package.json'), at('package.json'));
  symlinkSync(join(ROOT, 'node_modules'), at('node_modules'));
});

describe('the built package', () => {
  const data = writeJsonl(at('train.jsonl'), records(12));
  const mine = writeJsonl(at('mine.jsonl'), records(4));

  it('has the version of package.json', async () => {
    const { code, stdout, stderr } = await run('--version');
    const { version } = JSON.parse(execFileSync('cat', [at('package.json')], { encoding: 'utf8' }));
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('builds and blends, in threads too, to the bytes that the sources give', async () => {
    await succeed(buildArgs(data, at('pool-1')));
    expect(await run(...buildArgs(data, at('pool-2')))).toMatchObject({ code: 0 });
    expect(digests(at('pool-2'))).toEqual(digests(at('pool-1')));
    const blend = (pool: string, out: string) => [
      ...['blend', '--pool', at(pool), '--examples', mine, '--out', at(out)],
      ...['--combine', 'svd', '--rank', '2'],
    ];
    await succeed(blend('pool-1', 'blend-1'));
    expect(await run(...blend('pool-2', 'blend-2'))).toMatchObject({ code: 0 });
    expect(digests(at('blend-2'))).toEqual(digests(at('blend-1')));
  });

  it('serves: a trial, a template and a blend in processes and threads of their own', async () => {
    const model = copyOf(join(ROOT, 'models', 'crayon-edge'), at('edge'));
    // So long a loop that it is not rendered where it is.
    writeFileSync(
      join(model, 'chat_template.jinja'),
      "{% for i in range(99) %}{{ messages[0].content if i == 98 else '' }}{% endfor %}",
    );
    const pool = join(ROOT, 'models', 'crayon-edge-pool');
    const places = [
      '--model',
      model,
      '--pool',
      pool,
      '--cache-dir',
      at('cache'),
      '--any-base',
      '--prompt-form',
      'plain',
    ];
    const server = start(['serve-edge', ...places, '--gpu', 'false', '--port', '0'], { entry });
    const url = await addressOf(server);
    const post = async (path: string, body: object) => {
      const headers = { 'content-type': 'application/json' };
      return (await fetch(`${url}/v1/${path}`, { method: 'POST', headers, body: JSON.stringify(body) })).status;
    };
    const examples = readFileSync(join(ROOT, 'suite', 'examples', 'bank.jsonl'), 'utf8')
      .trim()
      .split('\n');
    expect(await post('customizations', { examples: examples.map((line) => JSON.parse(line)) })).toBe(201);
    const messages = [{ role: 'user', content: 'Once' }];
    expect(await post('chat/completions', { model: 'edge', messages, max_tokens: 2 })).toBe(200);
    // The page is in the build as text, with no sources and no esbuild beside it.
    const { script } = await bundledPage();
    expect(await (await fetch(`${url}/playground/page.js`)).text()).toBe(script);
    expect(readFileSync(at('dist/LICENSES.txt'), 'utf8')).toMatch(/^preact \d/m);
    server.process.kill('SIGTERM');
    await server.ended;
  });

  it('tells a defect by the lines of the sources', async () => {
    const { stderr } = await run('inspect', at('nowhere'), '--verbose');
    expect(stderr).toMatch(/at recognisePath \(src\/cli\/recognise\.ts:\d+:\d+\)/);
  });

  it('leads importers to the library', () => {
    const code = `
      import { CRAYON_VERSION, openPool } from 'crayon-edge';
      import { GgufFile } from 'crayon-edge/formats';
      console.log(CRAYON_VERSION, typeof openPool, typeof GgufFile);`;
    const args = ['--input-type=module', '-e', code];
    const output = execFileSync(process.execPath, args, { cwd: dir, encoding: 'utf8' });
    expect(output).toMatch(/^\d+\.\d+\.\d+ function function\n$/);
  });

  it('has the files that its entrances name, types too', () => {
    const { exports } = JSON.parse(readFileSync(at('package.json'), 'utf8')) as {
      exports: Record<string, string | Record<string, string>>;
    };
    const named = Object.values(exports).flatMap((entry) => (typeof entry === 'string' ? entry : Object.values(entry)));
    expect(named).toContain('./dist/src/formats.d.ts');
    expect(named.filter((path) => !existsSync(at(path)))).toEqual([]);
  });
});
