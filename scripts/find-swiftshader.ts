/**
 * Finds the Vulkan driver manifest (icd) of SwiftShader, the software Vulkan that ships with Chromium: it lets Dawn, and
 * so the WebGPU back end, run on a machine without a GPU. See docs/webgpu-testing.md.
 *
 *     npx tsx scripts/find-swiftshader.ts     prints the path; exit code 1 when there is none
 */

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where Linux distributions put Chromium's own libraries. */
const FOLDERS = [
  '/usr/lib/chromium',
  '/usr/lib64/chromium-browser',
  '/usr/lib/chromium-browser',
  '/usr/lib64/chromium',
];

/** The manifest's path, for `VK_DRIVER_FILES`; null where SwiftShader is not installed. */
export function findSwiftShader(): string | null {
  const manifests = FOLDERS.map((folder) => join(folder, 'vk_swiftshader_icd.json'));
  return manifests.find((path) => existsSync(path)) ?? null;
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const path = findSwiftShader();
  if (path === null) {
    console.error('find-swiftshader: not installed; on Debian: apt-get install libvulkan1 chromium-common');
    process.exitCode = 1;
  } else {
    console.log(path);
  }
}
