import { paritySuite } from '../helpers/parity-suite.js';

paritySuite('onnx');
