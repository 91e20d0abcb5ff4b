/** `crayon export`: a model or an adapter as a GGUF file for llama.cpp. */

import type { Command } from 'commander';
import { baseNameOf, checkAdapterBase, recordedPrompt } from '../blend/adapter-record.js';
import { CrayonError } from '../core/errors.js';
import { formatBytes, formatDuration } from '../core/format.js';
import { eventLoopTurn } from '../core/long-work.js';
import { type AdapterPrompt, exportAdapterGguf } from '../gguf/adapter.js';
import { openBase } from '../gguf/base.js';
import { GGUF_FILE_TYPE_NAMES, type GgufFileType } from '../gguf/file-types.js';
import { type ExportedGguf, exportModelGgufSteps } from '../gguf/model.js';
import { anyBaseOption, choice } from './options.js';
import { untilInterrupted } from './stop-signal.js';
import type { ProgressDisplay, Terminal } from './terminal.js';

interface Flags {
  gguf: string;
  model: string;
  adapter?: string;
  type?: GgufFileType;
  force: boolean;
  allowRequantize: boolean;
  anyBase: boolean;
}

const HELP = `
llama.cpp and whatever is built on it (node-llama-cpp, Ollama, LM Studio) run GGUF files. The base model becomes one
file with its tokenizer; an adapter, trained or blended, becomes a small LoRA file beside it, for llama.cpp's --lora.

Examples:
  $ crayon export --gguf edge.gguf --model models/crayon-edge
  $ crayon export --gguf edge-q8.gguf --model models/crayon-edge --type Q8_0
  $ crayon export --gguf edge-q4.gguf --model models/crayon-edge --type Q4_K_M
  $ crayon export --gguf edge-q5.gguf --model edge-f16.gguf --type Q5_K_M
  $ crayon export --gguf bank.lora.gguf --model models/crayon-edge --adapter bank-adapter
  $ crayon export --gguf bank.lora.gguf --model edge-q8.gguf --adapter bank-adapter --force`;

const TYPE = 'how matrices are stored (default: F16 for a model, F32 for an adapter)';

export function exportCommand(command: Command, terminal: Terminal): void {
  command
    .requiredOption('--gguf <file>', 'GGUF file to write')
    .requiredOption('--model <path>', 'base model: a directory or a GGUF file')
    .option('--adapter <dir>', 'write this PEFT adapter as a LoRA file instead of the model')
    .addOption(choice('--type <type>', TYPE, GGUF_FILE_TYPE_NAMES))
    .option('--force', 'replace an existing GGUF file', false)
    .option('--allow-requantize', 'also from a GGUF that is quantised already', false)
    .addOption(anyBaseOption())
    .addHelpText('after', HELP)
    .action((flags: Flags) =>
      flags.adapter === undefined ? exportModel(flags, terminal) : exportLora(flags, terminal),
    );
}

async function exportModel(
  { gguf, model, type = 'F16', force, allowRequantize }: Flags,
  terminal: Terminal,
): Promise<void> {
  const started = performance.now();
  const steps = exportModelGgufSteps({ model, out: gguf, type, force, allowRequantize });
  const written = async (signal: AbortSignal, { update }: ProgressDisplay): Promise<ExportedGguf> => {
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
      update('export', value.done, value.total);
      await eventLoopTurn(); // signals are heard between tensors
      signal.throwIfAborted();
    }
  };
  const stopped = `${gguf}: stopped by a signal, nothing was written`;
  const result = await terminal
    .during((progress) => untilInterrupted((signal) => written(signal, progress), stopped))
    .finally(() => steps.return(undefined as never)); // removes what an unfinished export has written so far
  terminal.document({ out: gguf, kind: 'model', type, ...result });
  const types = Object.entries(result.types).map(([name, count]) => `${count} ${name}`);
  terminal.print(
    `${terminal.colour.green('Model written:')} ${gguf} (${result.architecture}, ${result.tensors} tensors: ` +
      `${types.join(', ')}; ${formatBytes(result.bytes)} in ${formatDuration(performance.now() - started)})`,
  );
  if (result.unheldEndTokens.length > 0) {
    const shown = result.unheldEndTokens.map(({ id, text }) => `${id} (${JSON.stringify(text)})`).join(', ');
    terminal.warn(
      `The model's answers also end at ${shown}, for which GGUF has no key: give llama.cpp their text as a stop. ` +
        'crayon serve-edge ends at them where it is given the directory itself.',
    );
  }
}

function exportLora({ gguf, model, adapter, type = 'F32', force, anyBase }: Flags, terminal: Terminal): void {
  if (type !== 'F32' && type !== 'F16') {
    throw new CrayonError('bad-option', `--type ${type} with --adapter, expected F32 or F16`, {
      hint: 'LoRA factors are small: quantising them loses accuracy and saves nothing.',
    });
  }
  const started = performance.now();
  const madeOn = baseNameOf(adapter!);
  let prompt: AdapterPrompt | undefined;
  const base = openBase(model, { someWeights: true });
  try {
    checkAdapterBase(adapter!, base, anyBase);
    prompt = recordedPrompt(adapter!, base);
  } finally {
    base.close();
  }
  const result = exportAdapterGguf({ adapter: adapter!, base: model, out: gguf, type, force, prompt, madeOn });
  terminal.document({ out: gguf, kind: 'adapter', type, ...result });
  terminal.print(
    `${terminal.colour.green('Adapter written:')} ${gguf} (${result.architecture}, ${result.modules} modules, ` +
      `alpha ${result.alpha}; ${formatBytes(result.bytes)} in ${formatDuration(performance.now() - started)})`,
  );
  if (result.rescaled > 0) {
    terminal.note(`The scales differ between modules; B of ${result.rescaled} of them was rescaled to one alpha.`);
  }
}
