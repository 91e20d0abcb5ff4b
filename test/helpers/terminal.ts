/** A terminal whose words are kept. */

import { Terminal } from '../../src/cli/terminal.js';

export function keptTerminal() {
  const [out, err]: [string[], string[]] = [[], []];
  const sink = (into: string[]) =>
    ({ write: (text: string) => into.push(text) > 0 }) as unknown as NodeJS.WritableStream;
  const terminal = new Terminal({ stdout: sink(out), stderr: sink(err), env: {} });
  return { terminal, stdout: () => out.join(''), stderr: () => err.join('') };
}
