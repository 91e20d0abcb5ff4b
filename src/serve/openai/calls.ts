/** Calls of functions, put together from the pieces that an answer's events bring. */

import type { ToolCall, ToolCallPiece } from '../../engine/types.js';

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
