/**
 * Devices by class: the settings with which an edge server is started. They limit what it may use of this machine; they do
 * not make its processor another one, so times are of this machine with these limits.
 */

import { CrayonError } from '../../core/errors.js';
import type { BenchDevice } from './settings.js';

export interface Device {
  /** `auto` is measured at start */
  threads: 'auto' | number;
  /** tokens of prompt and answer together; null is the model's own, at most 4096 */
  context: number | null;
  /** how the base is exported; of a given GGUF its own */
  type: 'F16' | 'F32' | 'Q8_0';
  /** a GGUF of the same base, in any quantisation, in place of the base itself */
  gguf: string | null;
  /** of the whole server process; more than this ends the condition. null is no limit */
  memoryMib: number | null;
}

/** Round numbers of what such devices give to one program. */
export const DEVICES: Readonly<Record<string, Device>> = {
  default: { threads: 'auto', context: null, type: 'F16', gguf: null, memoryMib: null },
  laptop: { threads: 4, context: 4096, type: 'F16', gguf: null, memoryMib: 8192 },
  phone: { threads: 2, context: 2048, type: 'Q8_0', gguf: null, memoryMib: 2048 },
  board: { threads: 1, context: 512, type: 'Q8_0', gguf: null, memoryMib: 512 },
};

/**
 * A class by name, or one of the configuration's own, whose missing settings are the default's.
 *
 * @throws CrayonError `config-invalid` for a name that is neither
 */
export function deviceOf(name: string, configured: Readonly<Record<string, BenchDevice>> = {}): Device {
  if (Object.hasOwn(configured, name)) {
    const { memory_mib: memoryMib = null, ...rest } = configured[name]!;
    return { ...DEVICES.default!, ...rest, memoryMib };
  }
  if (Object.hasOwn(DEVICES, name)) return DEVICES[name]!;
  const known = [...Object.keys(DEVICES), ...Object.keys(configured)].join(', ');
  throw new CrayonError('config-invalid', `device ${JSON.stringify(name)} is not known, expected one of ${known}`);
}

/**
 * As keys of the edge server's configuration.
 *
 * @param baseContext tokens that the base was made for: a device with room for more gives no more
 */
export function deviceSettings(
  { threads, context, type, gguf }: Device,
  base: string,
  baseContext: number,
): { model: string; engine: Record<string, unknown> } {
  const engine = { threads, type, ...(context === null ? {} : { context: Math.min(context, baseContext) }) };
  return { model: gguf ?? base, engine };
}
