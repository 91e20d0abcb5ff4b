/** A GGUF file in another type, as llama.cpp's llama-quantize makes it: the same metadata and tensors, matrices stored anew. */

import { CrayonError } from '../core/errors.js';
import { findFamilyOfArchitecture, GGUF_ARCHITECTURES } from '../hf/families.js';
import { countTypes, fileTypeMetadata, type GgufFileType, storedTypes } from './file-types.js';
import { type GgufValue, ggufCount, ggufInvalid, ggufUnsupported } from './format.js';
import { GgufFile, type GgufTensorInfo } from './read.js';
import { GGML_TYPES, type GgufWriteType } from './types.js';
import { type GgufStep, type GgufTensorToWrite, writeGgufSteps } from './write.js';

export interface RequantiseOptions {
  /** the GGUF to read */
  model: string;
  /** the GGUF to write */
  out: string;
  type: GgufFileType;
  force?: boolean;
  /** also from types that are quantised themselves, whose losses add up */
  allowRequantize?: boolean;
}

/**
 * Writes the file, one step a tensor.
 *
 * @throws CrayonError `gguf-unsupported` for an architecture whose rules crayon does not know, or a tensor that it cannot store,
 *   `bad-option` for a quantised source without `allowRequantize`, or what reading and writing throw; nothing is left behind
 */
export function* requantiseGgufSteps({ model, out, type, force = false, allowRequantize = false }: RequantiseOptions) {
  const file = GgufFile.open(model);
  try {
    const { architecture } = file;
    refuseUnknown(file);
    const infos = [...file.tensors.values()];
    const count = (key: string): number => {
      const value = ggufCount(file, `${architecture}.${key}`);
      if (value === undefined) throw ggufInvalid(model, `has no ${architecture}.${key}`);
      return value;
    };
    const numHeads = count('attention.head_count');
    const numKvHeads = ggufCount(file, `${architecture}.attention.head_count_kv`) ?? numHeads;
    const types = storedTypes(type, infos, { architecture, numLayers: count('block_count'), numHeads, numKvHeads });
    const tensors = infos.map((info, i) => stored(file, info, types[i]!, allowRequantize));
    const metadata = new Map<string, GgufValue>([...file.metadata, ...fileTypeMetadata(type)]);
    const steps: Generator<GgufStep, { bytes: number }> = writeGgufSteps(out, metadata, tensors, { force });
    const { bytes } = yield* steps;
    return { bytes, tensors: tensors.length, types: countTypes(tensors), architecture, unheldEndTokens: [] };
  } finally {
    file.close();
  }
}

/** The rules of `storedTypes` are those of these architectures, dense and in one file. */
function refuseUnknown(file: GgufFile): void {
  const { architecture, path, metadata } = file;
  if (findFamilyOfArchitecture(architecture) === undefined) {
    throw ggufUnsupported(path, `architecture ${architecture}, expected ${GGUF_ARCHITECTURES.join(', ')}`);
  }
  if ((ggufCount(file, `${architecture}.expert_count`, 0) ?? 0) > 0)
    throw ggufUnsupported(path, 'a mixture of experts');
  if (metadata.has('split.count')) throw ggufUnsupported(path, 'a part of a split file', 'Merge its parts first.');
}

function stored(
  file: GgufFile,
  { name, shape, type: found }: GgufTensorInfo,
  wanted: GgufWriteType,
  allowRequantize: boolean,
): GgufTensorToWrite {
  // A vector stays as it is where crayon can write that.
  const type = shape.length === 1 && canWrite(found) ? found : wanted;
  if (type === found) return { name, shape, type, data: () => file.readBytes(name) };
  if (Object.hasOwn(GGML_TYPES, found) && GGML_TYPES[found as GgufWriteType].block > 1 && !allowRequantize) {
    throw new CrayonError('bad-option', `${file.path}: "${name}" is quantised already, as ${found}, expected ${type}`, {
      hint: "Take the unquantised model, or --allow-requantize: one type's loss then comes on top of the other's.",
    });
  }
  return { name, shape, type, data: () => file.readF32(name) };
}

const canWrite = (type: string): type is GgufWriteType =>
  Object.hasOwn(GGML_TYPES, type) && 'quantise' in GGML_TYPES[type as GgufWriteType];
