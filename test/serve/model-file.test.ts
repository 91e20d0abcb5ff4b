import { describe, expect, it } from 'vitest';
import { GgufFile } from '../../src/gguf/read.js';
import { modelFile } from '../../src/serve/model-file.js';
import { boolEntry, f32, ggufModel, ggufPath, stringEntry, stringsEntry, uintEntry } from '../helpers/gguf.js';
import { closing } from './helpers.js';

const opened = (type: number, weight: number) =>
  modelFile(
    closing(
      GgufFile.open(
        ggufPath(
          ggufModel(
            [
              stringEntry('general.architecture', 'llama'),
              uintEntry('general.file_type', type),
              uintEntry('llama.block_count', 2),
              boolEntry('tokenizer.ggml.add_bos_token', true),
              stringsEntry('tokenizer.ggml.tokens', ['a', 'b']),
            ],
            [
              { name: 'a', shape: [2, 3], type: 0, bytes: f32(1, 2, 3, 4, 5, weight) },
              { name: 'b', shape: [4], type: 0, bytes: f32(1, 2, 3, 4) },
            ],
          ),
        ),
      ),
      (file) => file.close(),
    ),
  );

describe('modelFile', () => {
  it('counts parameters, names the type, and has all metadata but lists', () => {
    expect(opened(7, 6)).toMatchObject({ family: 'llama', parameters: 10, quantization: 'Q8_0' });
    expect(opened(7, 6).metadata).toEqual({
      'general.architecture': 'llama',
      'general.file_type': 7,
      'llama.block_count': 2,
      'tokenizer.ggml.add_bos_token': true,
    });
    expect(opened(999, 6).quantization).toBe('unknown');
  });

  it('has a digest of its own for other weights', () => {
    expect(opened(7, 6).digest).toMatch(/^[0-9a-f]{64}$/);
    expect(opened(7, 6).digest).toBe(opened(7, 6).digest);
    expect(opened(7, 6).digest).not.toBe(opened(7, 8).digest);
  });
});
