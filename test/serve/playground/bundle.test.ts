import { describe, expect, it } from 'vitest';
import { bundledPage } from '../../../src/serve/playground/bundle.js';

describe('the page', () => {
  it('is one script and one style sheet that need nothing else, twice the same', { tags: 'slow' }, async () => {
    const { script, style, inputs } = await bundledPage();
    expect(inputs).toContain('src/serve/playground/page/main.tsx');
    expect(inputs.some((input) => input.startsWith('node_modules/preact/'))).toBe(true);
    // Nothing of the server is in it but what both are told of each other.
    expect(
      inputs.filter((input) => input.startsWith('src/') && !input.startsWith('src/serve/playground/page/')),
    ).toEqual([]);
    expect(script).not.toMatch(/^\s*import\s|\beval\(|new Function\(|localStorage|sessionStorage|document\.cookie/m);
    expect(style).not.toMatch(/@import|url\(/);
    expect(style).toContain('.composer');
    expect(await bundledPage()).toEqual({ script, style, inputs });
  });
});
