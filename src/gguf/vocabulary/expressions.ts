/**
 * How a text is cut before byte-level BPE, for each value of `tokenizer.ggml.pre`: the expressions of llama.cpp
 * (llama-vocab.cpp), applied one after the other, each to the pieces that the one before has left.
 */

/** English contractions in either case. */
const CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
/** Runs of characters that are neither spaces, letters nor digits; line ends; other spaces, the last one left for a word. */
const REST = '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)";
/** What Qwen 2 and Llama 3 share; they differ in how many digits make a word. Also as a tokenizer.json has it. */
export const modern = (contractions: string, digits: string): string =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}${REST}`;
const LLAMA3 = modern(CONTRACTIONS, '\\p{N}{1,3}');
const QWEN2 = modern(CONTRACTIONS, '\\p{N}');
const QWEN35 =
  `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*` +
  '|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const BLOOM = ' ?[^(\\s|.,!?…。，、।۔،)]+';
/** Words that begin with upper case; also as a tokenizer.json has it. */
export const cased = ([upper, lower]: readonly [string, string], suffix: string, digits: string): string =>
  `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+${suffix}|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*${suffix}|${digits}` +
  '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
/** Letters that are not a to z, and letters that are not A to Z: llama.cpp's stand-in for upper and lower case. */
const CASES = ['(?:(?=\\p{L})[^a-z])', '(?:(?=\\p{L})[^A-Z])'] as const;

export interface PreTokenizer {
  expressions: readonly string[];
  /** a piece that is a token as it stands is not merged from its bytes */
  ignoreMerges: boolean;
  /** where the file does not say whether a text starts with BOS */
  addsBos: boolean;
}

const plain = (...expressions: string[]): PreTokenizer => ({ expressions, ignoreMerges: false, addsBos: false });

const FAMILIES: ReadonlyArray<[names: string, PreTokenizer]> = [
  ['default', plain('[\\p{P}\\$\\+<=>\\^~\\|]+', GPT2, '\\p{N}+', '[0-9][0-9][0-9]')],
  [
    'llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2',
    { expressions: [LLAMA3], ignoreMerges: true, addsBos: true },
  ],
  ['dbrx smaug-bpe glm4 chatglm-bpe', plain(LLAMA3)],
  ['gpt-2 phi-2 gigachat a.x-4.0 mellum mpt olmo jais trillion granite-docling exaone4', plain(GPT2)],
  ['starcoder refact command-r smollm codeshell exaone minerva-7b', plain('\\p{N}', GPT2)],
  ['qwen2 deepseek-r1-qwen megrez stablelm2 hunyuan solar-open grok-2 kormo', plain(QWEN2)],
  ['qwen35', plain(QWEN35)],
  ['falcon', plain('[\\p{P}\\$\\+<=>\\^~\\|`]+', GPT2, '[0-9][0-9][0-9]')],
  ['deepseek-coder', plain('[\\r\\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', '[一-龥ࠀ-一가-퟿]+', '\\p{N}')],
  ['poro-chat bloom gpt3-finnish', plain(BLOOM)],
  ['viking', plain(BLOOM, '\\p{N}')],
  ['tekken', { expressions: [cased(CASES, '', '\\p{N}')], ignoreMerges: true, addsBos: true }],
  ['gpt-4o llama4 kanana2 minimax-m2', plain(cased(CASES, `${CONTRACTIONS}?`, '\\p{N}{1,3}'))],
  [
    'seed-coder',
    plain(
      `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
    ),
  ],
];

const BY_NAME = new Map(FAMILIES.flatMap(([names, pre]) => names.split(' ').map((name) => [name, pre] as const)));

/** The values of `tokenizer.ggml.pre` that are known. */
export const PRE_TOKENIZERS: readonly string[] = [...BY_NAME.keys()];

/** Undefined for a name that is not known. */
export function preTokenizer(name: string): PreTokenizer | undefined {
  return BY_NAME.get(name);
}
