import { packedScores } from '../helpers/packed-scores.js';

packedScores('onnx', ['llama', 'gemma3', 'mistral', 'phi3']);
