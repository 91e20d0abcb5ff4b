/** Calls of functions, put together from the pieces that an answer's events bring. */

import type { GenerateEvent, ToolCall, ToolCallPiece } from '../../engine/types.js';

/** The end of an answer, with what was still held back of its calls. */
export type Ending = Pick<Extract<GenerateEvent, { type: 'end' }>, 'text' | 'finishReason' | 'usage'> & {
  calls?: readonly ToolCallPiece[];
};

export class CollectedCalls {
  /** in their order */
  readonly list: ToolCall[] = [];

  add(pieces: readonly ToolCallPiece[] | undefined): void {
    for (const { index, id, name, arguments: more } of pieces ?? []) {
      this.list[index] ??= { id: id ?? '', type: 'function', function: { name: name ?? '', arguments: '' } };
      this.list[index].function.arguments += more;
    }
  }
}
