/** The help reads as sentences, with examples, within 120 columns, and needs no tensor library. */

import { describe, expect, it } from 'vitest';
import { crayon } from '../e2e/helpers.js';

const COMMANDS = [
  'build-pool',
  'measure-pool',
  'pool',
  'blend',
  'score',
  'inspect',
  'export',
  'calibrate',
  'route',
  'bench',
  'serve-edge',
  'serve-pool',
  'quickstart',
  'doctor',
];

describe('crayon --help', () => {
  it('names every command and the exit codes', async () => {
    const { code, stdout, stderr } = await crayon(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^ {2}${command} `, 'm'));
    expect(stdout).toMatchInlineSnapshot(`
      "Usage: crayon [options] [command]

      Customise a small on-device LLM in an instant: build a pool of base LoRA
      adapters once, then blend them for each user from 3 to 50 examples, without
      training.

      Options:
        -V, --version             output the version number
        -h, --help                display help for command

      Commands:
        build-pool [options]      Embed a training set, cluster it, and train a pool
                                  of base LoRA adapters.
        measure-pool [options]    Measure a pool by held-out examples, for blend's
                                  --standardise and label-evidence.
        pool [options]            Change a finished pool: add, import, update, remove
                                  and merge adapters; list them.
        blend [options]           Blend a pool's adapters into one for a user's 3 to
                                  50 examples, without training.
        score [options]           Measure held-out loss, perplexity and
                                  multiple-choice accuracy, with or without an
                                  adapter.
        inspect [options] <path>  Show what a model, an adapter, a pool, a GGUF or a
                                  safetensors file holds.
        export [options]          Write a model, or an adapter for it, as a GGUF file
                                  for llama.cpp.
        calibrate [options]       Choose the routing thresholds on held-out examples,
                                  and show accuracy against server share.
        route [options]           Show one routing decision with its scores, offline.
        bench [options]           Measure what customisation is worth: strategies,
                                  users, accuracy, cost; resumable.
        serve-edge [options]      Serve the customised model by an OpenAI-compatible
                                  API; what is out of its scope goes to a larger LLM.
        serve-pool [options]      Serve a pool, and blends of it for devices that send
                                  N numbers, over HTTP.
        quickstart [options]      See the whole idea in minutes: pool, three users,
                                  scores; nothing to download.
        doctor [options]          Show what this machine has: Node, tensor back ends
                                  and their speed, threads, memory.
        help [command]            display help for command

      A first run:
        $ crayon doctor
        $ crayon build-pool --model <model> --data train.jsonl --pool pool
        $ crayon blend --pool pool --examples mine.jsonl --out my-adapter
        $ crayon score --model <model> --adapter my-adapter --data held-out.jsonl

      Exit codes:
        0 done · 1 a defect of crayon · 2 wrong usage · 3 a wrong file or value in it
        4 the machine lacks something · 5 the numbers diverged · 130 interrupted

      "
    `);
  });
});

describe.each(COMMANDS)('crayon %s --help', (command) => {
  it('has a description, examples and the options of every command', async () => {
    const { code, stdout, stderr } = await crayon([command, '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`Usage: crayon ${command}`);
    expect(stdout).toContain(`$ crayon ${command}`);
    for (const option of ['--json', '--quiet', '--verbose', '--help']) expect(stdout).toContain(option);
    expect(stdout).not.toMatch(/undefined|\[object/);
    expect(stdout.split('\n').filter((line) => line.length > 120)).toEqual([]);
  });

  it('is what `crayon help` prints', async () => {
    expect((await crayon(['help', command])).stdout).toBe((await crayon([command, '--help'])).stdout);
  });
});
