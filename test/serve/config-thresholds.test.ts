import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { loadEdgeConfig } from '../../src/serve/config.js';
import { writeThresholds } from '../../src/serve/config-thresholds.js';
import { temporaryDir } from '../helpers/files.js';

const YAML = `# my device
model: ../model # the base
examples: mine.jsonl

routing:
  mode: prefer_on_device
  # null switches a signal off.
  thresholds:
    # Percentile: below it, the server.
    scope: null
    # In nats.
    complexity: 3.5
    confidence: null
  load: true # when full
server:
  base_url: http://127.0.0.1:1/v1
  model: big
`;

const thresholds = { scope: 4.5, complexity: null, confidence: -0.31 };

describe('writeThresholds', () => {
  let dir: string;
  beforeEach(() => {
    dir = temporaryDir();
  });
  const at = (name: string) => join(dir, name);

  it('changes the thresholds and nothing else', () => {
    writeFileSync(at('edge.yaml'), YAML);
    writeThresholds(at('edge.yaml'), at('out.yaml'), { thresholds, remarks: ['why'], force: false });
    expect(readFileSync(at('out.yaml'), 'utf8')).toBe(
      YAML.replace('scope: null', 'scope: 4.5')
        .replace('complexity: 3.5', 'complexity: null')
        .replace('confidence: null', 'confidence: -0.31')
        .replace('    # Percentile', '    # crayon calibrate: why\n    # Percentile'),
    );
    expect(loadEdgeConfig(at('out.yaml')).routing.thresholds).toEqual({
      ...thresholds,
      success: null,
      advantage: null,
      correctness: null,
      gain: null,
    });
    expect(readFileSync(at('edge.yaml'), 'utf8')).toBe(YAML);
  });

  it('replaces its own remark the next time, in the file itself when forced', () => {
    writeFileSync(at('edge.yaml'), YAML);
    const write = (remark: string) =>
      writeThresholds(at('edge.yaml'), at('edge.yaml'), { thresholds, remarks: [remark], force: true });
    write('first');
    write('second');
    const written = readFileSync(at('edge.yaml'), 'utf8');
    expect(written).not.toContain('first');
    expect(written.match(/crayon calibrate: second/g)).toHaveLength(1);
    expect(written).toContain('# Percentile: below it, the server.');
  });

  it.each(['', 'routing:\n', 'routing: {}\n', 'routing: { mode: prefer_on_device }\n', 'routing:\n  thresholds:\n'])(
    'makes the keys that are missing: %j',
    (routing) => {
      writeFileSync(at('edge.yaml'), `model: m\nexamples: e.jsonl\n${routing}`);
      writeThresholds(at('edge.yaml'), at('out.yaml'), { thresholds, remarks: ['why'], force: false });
      expect(loadEdgeConfig(at('out.yaml')).routing).toMatchObject({ mode: 'prefer_on_device', thresholds });
    },
  );

  it('writes the weights beside them on one line, over those of an earlier run, with the comments around', () => {
    const yaml = YAML.replace(
      '  load: true',
      '  # What P(right) is made of.\n  correctness: { intercept: 9, scope: 9 } # by hand\n  load: true',
    );
    writeFileSync(at('edge.yaml'), yaml);
    writeThresholds(at('edge.yaml'), at('out.yaml'), {
      thresholds: { scope: null, complexity: null, confidence: null, correctness: 0.62 },
      weights: { intercept: -1.5, probability: 4.25, log_scope: 0.3 },
      remarks: [],
      force: false,
    });
    const written = readFileSync(at('out.yaml'), 'utf8');
    expect(written).toContain(
      '  # What P(right) is made of.\n  correctness: { intercept: -1.5, probability: 4.25, log_scope: 0.3 }',
    );
    expect(loadEdgeConfig(at('out.yaml')).routing).toMatchObject({
      thresholds: { scope: null, complexity: null, confidence: null, correctness: 0.62 },
      correctness: { intercept: -1.5, probability: 4.25, logScope: 0.3 },
    });
    expect(loadEdgeConfig(at('out.yaml')).routing.correctness).not.toHaveProperty('scope');
    const rates = [0.91, 0.2, 0.05];
    writeThresholds(at('out.yaml'), at('out.yaml'), { thresholds: {}, rates, remarks: [], force: true });
    expect(readFileSync(at('out.yaml'), 'utf8')).toContain('  success: [ 0.91, 0.2, 0.05 ]');
    // A map comes with its weights and goes with them.
    const weights = { intercept: -1.5, probability: 4.25, log_scope: 0.3 };
    const again = (map: Array<[number, number]> | null) => {
      const what = { thresholds: {}, weights, map, measure: 'margin', remarks: [], force: true };
      writeThresholds(at('out.yaml'), at('out.yaml'), what);
      return loadEdgeConfig(at('out.yaml')).routing;
    };
    const map: Array<[number, number]> = [
      [0, 0.05],
      [0.6, 0.2],
      [1, 0.98],
    ];
    expect(again(map)).toMatchObject({ correctnessMap: map, confidence: { measure: 'margin' } });
    expect(readFileSync(at('out.yaml'), 'utf8')).toContain(
      '  correctness_map: [ [ 0, 0.05 ], [ 0.6, 0.2 ], [ 1, 0.98 ] ]',
    );
    expect(again(null).correctnessMap).toBeNull();
    // Without weights to write, what stands there stays.
    writeThresholds(at('out.yaml'), at('out.yaml'), { thresholds: { correctness: null }, remarks: [], force: true });
    expect(loadEdgeConfig(at('out.yaml')).routing).toMatchObject({
      thresholds: { correctness: null },
      correctness: { intercept: -1.5, probability: 4.25, logScope: 0.3 },
    });
  });

  it.each(['', 'routing:\n', 'routing:\n  correctness:\n', 'routing: { correctness: null }\n'])(
    'writes weights where there was no key for them: %j',
    (routing) => {
      writeFileSync(at('edge.yaml'), `model: m\nexamples: e.jsonl\n${routing}`);
      const weights = { intercept: 0, probability: 1 };
      writeThresholds(at('edge.yaml'), at('out.yaml'), {
        thresholds: { correctness: 0.5 },
        weights,
        remarks: ['why'],
        force: false,
      });
      expect(loadEdgeConfig(at('out.yaml')).routing).toMatchObject({
        thresholds: { correctness: 0.5 },
        correctness: weights,
      });
    },
  );

  it('lets relative paths start at the new folder', () => {
    mkdirSync(at('a/b'), { recursive: true });
    writeFileSync(at('a/edge.yaml'), `# yaml-language-server: $schema=schema/edge.json\n${YAML}`);
    writeThresholds(at('a/edge.yaml'), at('a/b/out.yaml'), { thresholds, remarks: [], force: false });
    expect(readFileSync(at('a/b/out.yaml'), 'utf8')).toMatch(
      /^# yaml-language-server: \$schema=\.\.\/schema\/edge\.json$/m,
    );
    const [before, after] = [loadEdgeConfig(at('a/edge.yaml')), loadEdgeConfig(at('a/b/out.yaml'))];
    expect(after.model).toBe(before.model);
    expect(after.examples).toBe(before.examples);
  });

  it('refuses an existing output', () => {
    writeFileSync(at('edge.yaml'), YAML);
    writeFileSync(at('out.yaml'), 'keep');
    expect(() => writeThresholds(at('edge.yaml'), at('out.yaml'), { thresholds, remarks: [], force: false })).toThrow(
      expect.objectContaining({ code: 'output-exists' }),
    );
    expect(readFileSync(at('out.yaml'), 'utf8')).toBe('keep');
  });
});
