/**
 * Every limit on what comes from outside, in one table: sizes, lengths, counts, depths and times beyond which a file, a request or
 * another process is refused, with what each protects. docs/limits.md is made of it (`npx tsx scripts/limits.ts`).
 *
 * A limit stands well beyond what real files hold; where a format or another program sets one, it is theirs.
 */

type Unit = 'bytes' | 'characters' | 'levels' | 'ms' | 'at a time' | 'of them' | 'times';
/** Value, unit, what is limited and what that protects. */
type Row = readonly [value: number, unit: Unit, protects: string];

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

export const LIMIT_TABLE = {
  'Files and texts': {
    configBytes: [MIB, 'bytes', 'config.json, YAML files, chat templates: real ones have some kilobytes'],
    jsonBytes: [128 * MIB, 'bytes', 'other JSON files: the largest tokenizer.json known has 35 MB'],
    indexBytes: [64 * MIB, 'bytes', 'the index of a model in several files'],
    manifestBytes: [64 * MIB, 'bytes', "a pool's pool.json"],
    textBytes: [500 * MIB, 'bytes', 'a data set, a report: V8 holds a text of at most 512 MiB'],
    recordLogBytes: [256 * MIB, 'bytes', 'what an earlier run left, to be continued'],
    secretBytes: [4 * KIB, 'bytes', 'the file of a key'],
    noteBytes: [64 * KIB, 'bytes', "what crayon itself keeps beside its outputs: a lock's owner, the day's budget"],
    nesting: [
      200,
      'levels',
      'JSON and YAML, of files and of requests: each level is a call on the stack of whoever looks through it',
    ],
    jsonParts: [2 ** 24, 'of them', 'keys, objects and lists of one JSON text: in memory each has some hundred bytes'],
    turns: [
      2000,
      'of them',
      'turns of a conversation: with all its answers as examples, each repeats what is before it',
    ],
    records: [2 ** 22, 'of them', 'records of one data file'],
    choices: [10_000, 'of them', 'choices of one record: those of a description are those of each of its records'],
    conversationCharacters: [
      2 ** 26,
      'characters',
      'the prompts that the answers of one conversation make, each with all turns before it',
    ],
    groupFiles: [10_000, 'of them', 'files of a group of data sets, with those of the groups in it'],
    groupLevels: [4, 'levels', 'groups of data sets within each other'],
    messageCharacters: [5000, 'characters', 'what an error says of them'],
    yamlCharacters: [4 * MIB, 'characters', 'a YAML file with all that its aliases repeat'],
  },
  'Models, adapters and pools': {
    safetensorsHeaderBytes: [100_000_000, 'bytes', 'the header of a safetensors file: the limit of the reference'],
    ggufHeaderBytes: [128 * MIB, 'bytes', "all before a GGUF's data: the largest real ones have some 20 MB"],
    ggufKeyBytes: [65_535, 'bytes', "a key of a GGUF's metadata: the format's limit"],
    ggufStringBytes: [
      16 * MIB,
      'bytes',
      "a text of a GGUF's metadata: chat templates, the longest of real ones, have some 10,000",
    ],
    ggufMetadata: [65_536, 'of them', 'metadata of a GGUF: real files have a few dozen'],
    ggufArrayElements: [
      2 ** 23,
      'of them',
      'elements of all arrays of a GGUF together: the largest vocabularies need a tenth',
    ],
    ggufTensors: [131_072, 'of them', 'tensors of a GGUF'],
    ggufNameBytes: [64, 'bytes', "a tensor's name in a GGUF with the zero that ends it: the limit of ggml"],
    ggufDimensions: [4, 'of them', 'dimensions of a tensor of a GGUF: the limit of ggml'],
    shards: [1000, 'of them', 'files of one model'],
    layers: [10_000, 'of them', 'layers of a model, each some names that are looked for'],
    vocabulary: [2 ** 24, 'of them', 'tokens of a vocabulary: the largest have some 300,000'],
    endTokens: [64, 'of them', 'tokens that end an answer'],
    tokenizerSteps: [
      64,
      'of them',
      'steps of a tokenizer.json before or behind its vocabulary: real ones have some five',
    ],
    tokenizerGrowth: [100, 'times', 'how much longer they may make a text: real ones make a character three'],
    rangeNumbers: [1_000_000, 'of them', 'numbers of `range()` in a template'],
    patternMs: [
      1000,
      'ms',
      'of a processor, all regular expressions of one key of an adapter_config.json, over all modules',
    ],
    trialMs: [600_000, 'ms', 'loading a model in a process of its own, to see whether llama.cpp takes it'],
    trialOutputBytes: [4 * MIB, 'bytes', 'what that process may say'],
    sequences: [256, 'at a time', 'sequences: the limit of llama.cpp'],
  },
  'Code of strangers': {
    codeMs: [
      10_000,
      'ms',
      "of a processor, a call of a template or a tokenizer: a thousand times what real models' take",
    ],
    codeStarved: [
      4,
      'times',
      'the time of a call, by the wall, that the last attempt has where a machine gives it hardly a processor',
    ],
    codeHeapBytes: [256 * MIB, 'bytes', 'the heap of the process that runs templates'],
    codeAnswer: [2 ** 25, 'characters', 'what one call may give'],
    codeStartMs: [20_000, 'ms', 'until such a process has started, on a machine that is busy'],
    codeGraceMs: [1000, 'ms', 'beyond the longest time of a call, until its process is killed'],
    codeBridgeMs: [30_000, 'ms', 'beyond the longest time of a call, until the thread that has it is given up'],
    codeOpened: [64, 'of them', 'templates and tokenizers that such a process keeps ready'],
    codeProcesses: [2, 'at a time', 'such processes: the second one is for calls that wait behind a slow one'],
  },
  'Other processes': {
    lockWatchMs: [
      10_000,
      'ms',
      'a lock of another machine is watched; network file systems keep times back for some seconds',
    ],
    abandonedMs: [15 * 60_000, 'ms', 'without a change, until what an unknown process left is taken for a leftover'],
    replacedGapMs: [100, 'ms', 'a reader waits for a directory that is being replaced'],
    replacedReads: [100, 'of them', 'attempts to read or replace a directory that others replace'],
    trainerSilenceMs: [600_000, 'ms', 'an external trainer that says nothing: each micro-batch is told of'],
    trainerStopMs: [120_000, 'ms', 'until an external trainer has ended its step and written its checkpoint'],
    trainerVersionsMs: [60_000, 'ms', 'a Python that is asked what packages it has'],
    unitBusyMs: [60_000, 'ms', 'a worker waits for another one that has its cluster, which is ending or will be done'],
    unitPollMs: [500, 'ms', 'until it looks again'],
    jobsCommandMs: [60_000, 'ms', "a command of a queue's, which asks its controller"],
    jobsAnswerBytes: [64 * MIB, 'bytes', "an answer of a queue's, which may be all that a job has said"],
    lockAttempts: [100, 'of them', 'attempts to take a lock that others take and leave'],
  },
  'The HTTP server': {
    connections: [1024, 'at a time', 'sockets'],
    httpHeaderBytes: [16 * KIB, 'bytes', "a request's headers"],
    httpHeadersMs: [10_000, 'ms', "until a request's headers are complete"],
    httpBodyMs: [60_000, 'ms', 'until its body is'],
    keepAliveMs: [65_000, 'ms', 'an idle connection'],
    drainMs: [1_000, 'ms', 'reading what a refused client still sends, so that it sees the answer'],
    embeddingInputs: [2048, 'of them', "texts of one request of /v1/embeddings: OpenAI's limit"],
    stopCharacters: [1024, 'characters', 'one stop text'],
    topLogprobs: [20, 'of them', 'alternatives of a token that a request may ask for'],
    answers: [16, 'of them', 'answers to one prompt that a request may ask for'],
    logitBias: [300, 'of them', 'tokens whose logits a request may change'],
    tools: [128, 'of them', "functions that a request may offer: OpenAI's limit"],
    messageId: [256, 'characters', 'the id of a call of a function'],
    schemaParts: [2000, 'of them', 'schemas and listed values of one JSON Schema that an answer is held to'],
    grammarCharacters: [256 * KIB, 'characters', 'the grammar that is made of it'],
    grammarTimes: [20_000, 'of them', 'items and characters that its lengths count up to, each a rule of the grammar'],
    grammarWays: [
      1000,
      'of them',
      'readings of one text that it may hold open at a time: they multiply with the depth',
    ],
    customizationName: [64, 'characters', "a customisation's name"],
    customizationBytes: [
      4 * MIB,
      'bytes',
      "the file of a user's customisation: real ones have some 10 kB, with 50 examples kept at most a request's size",
    ],
    coefficients: [4096, 'of them', 'coefficients of a customisation: more base LoRAs than any pool has'],
    adapterScale: [
      1000,
      'times',
      'the scale of an adapter or its coefficient in a blend, either way: beyond it is a typing error',
    ],
  },
  'The server LLM': {
    answerBytes: [32 * MIB, 'bytes', 'one answer'],
    eventBytes: [MIB, 'bytes', 'one event of an answer that is streamed'],
    errorBytes: [64 * KIB, 'bytes', 'the body of an error'],
    errorCharacters: [400, 'characters', 'what is passed on of its message'],
    retryMs: [8_000, 'ms', 'the longest wait between two attempts'],
    retryAfterMs: [20_000, 'ms', 'the longest wait that it may ask for'],
    tailMs: [1_000, 'ms', 'a complete answer whose body does not end'],
    closeMs: [1_000, 'ms', 'cancelled calls when the server stops'],
  },
  'Pools by address': {
    poolFirstByteMs: [30_000, 'ms', 'until an answer begins'],
    poolBlendMs: [240_000, 'ms', 'until a blend begins that the server makes first'],
    poolIdleMs: [30_000, 'ms', 'until more of it comes'],
    poolPatienceMs: [120_000, 'ms', 'after which an answer must have come at the next rate'],
    poolBytesPerSecond: [2000, 'bytes', 'a second, on average: a quarter of the slowest mobile networks'],
    poolAttempts: [40, 'of them', 'requests for one file that keeps breaking off'],
    poolRedirects: [3, 'of them', 'redirections of one request'],
    poolTensorBytes: [512 * MIB, 'bytes', "a pool's centroids"],
    poolAdapterBytes: [8 * GIB, 'bytes', "an adapter's weights"],
  },
} as const satisfies Record<string, Record<string, Row>>;

type Groups = typeof LIMIT_TABLE;
export type LimitName = { [G in keyof Groups]: keyof Groups[G] }[keyof Groups];

/**
 * The limits' values by name.
 *
 * @example
 * readSmallFile(path, LIMITS.configBytes);
 */
export const LIMITS = Object.fromEntries(
  Object.values(LIMIT_TABLE).flatMap((rows) => Object.entries<Row>(rows).map(([name, [value]]) => [name, value])),
) as Record<LimitName, number>;
