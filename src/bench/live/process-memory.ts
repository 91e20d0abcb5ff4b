/** How much memory another process uses. */

import { readText } from '../../files/io.js';

export interface ProcessMemory {
  /** in main memory now, and the most it ever was */
  bytes: number;
  peakBytes: number;
}

/** @returns null where the process is gone, or the system has no /proc */
export function processMemory(pid: number): ProcessMemory | null {
  let status: string;
  try {
    status = readText(`/proc/${pid}/status`);
  } catch {
    return null;
  }
  const of = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024;
  const [bytes, peakBytes] = [of('VmRSS'), of('VmHWM')];
  return Number.isNaN(bytes) || Number.isNaN(peakBytes) ? null : { bytes, peakBytes };
}
