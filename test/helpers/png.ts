/** Reads the PNG files that a browser's screenshot makes: 8 bits a channel, RGB or RGBA, not interlaced. */

import assert from 'node:assert/strict';
import { inflateSync } from 'node:zlib';

export interface Picture {
  width: number;
  height: number;
  /** 0xrrggbb of the pixel at (x, y) */
  colour(x: number, y: number): number;
}

export function decodePng(bytes: Buffer): Picture {
  assert.equal(bytes.subarray(1, 4).toString('latin1'), 'PNG');
  const width = bytes.readUInt32BE(16);
  const height = bytes.readUInt32BE(20);
  const [depth, type, , , interlaced] = bytes.subarray(24, 29);
  const channels = type === 6 ? 4 : 3;
  assert.ok(depth === 8 && (type === 2 || type === 6) && interlaced === 0, `PNG of depth ${depth}, type ${type}`);
  const parts: Buffer[] = [];
  for (let at = 8; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    if (bytes.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const data = inflateSync(Buffer.concat(parts));
  const stride = width * channels;
  const pixels = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = data[y * (stride + 1)]!;
    for (let i = 0; i < stride; i++) {
      const left = i >= channels ? pixels[y * stride + i - channels]! : 0;
      const up = y > 0 ? pixels[(y - 1) * stride + i]! : 0;
      const corner = y > 0 && i >= channels ? pixels[(y - 1) * stride + i - channels]! : 0;
      pixels[y * stride + i] = data[y * (stride + 1) + 1 + i]! + predicted(filter, left, up, corner);
    }
  }
  return {
    width,
    height,
    colour: (x, y) => {
      const at = y * stride + x * channels;
      return (pixels[at]! << 16) | (pixels[at + 1]! << 8) | pixels[at + 2]!;
    },
  };
}

/** The five filters of the PNG specification, section 9. */
function predicted(filter: number, left: number, up: number, corner: number): number {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

/** How often each colour occurs. */
export function colours({ width, height, colour }: Picture): Map<number, number> {
  const counts = new Map<number, number>();
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) counts.set(colour(x, y), (counts.get(colour(x, y)) ?? 0) + 1);
  }
  return counts;
}
