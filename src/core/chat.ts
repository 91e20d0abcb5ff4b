/** A conversation with a model: what data sets hold, templates render and engines answer. */

export interface ChatMessage {
  role: string;
  content: string;
  /** Who of several with one role says it: OpenAI's `name`. Few chat templates write it. */
  name?: string;
  /** of an answer: the functions that it called */
  toolCalls?: readonly ToolCall[];
  /** of a message with role `tool`: the call whose result it is */
  toolCallId?: string;
}

/** A call of a function, as OpenAI's wire has it. */
export interface ToolCall {
  id: string;
  type: 'function';
  /** `arguments`: a JSON object as text */
  function: { name: string; arguments: string };
}

/**
 * The conversation format of a model without a chat template: contents joined by newlines, trailing white space trimmed, no
 * generation prompt.
 *
 * One user's message is then token for token the prompt that build-pool and blend have seen. Such models were trained with
 * lm-eval's target delimiter, one space before the answer, which is no part of it: AnswerText drops it (`dropLeadingSpace`).
 */
export function renderPlain(messages: readonly ChatMessage[]): string {
  return messages
    .map((message) => message.content)
    .join('\n')
    .trimEnd();
}
