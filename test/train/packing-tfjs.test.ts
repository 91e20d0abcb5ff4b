import { packedScores } from '../helpers/packed-scores.js';

packedScores('wasm', ['gemma3']);
