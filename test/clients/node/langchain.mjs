/** LangChain for JavaScript: ChatOpenAI, its embeddings, and ChatOllama. */

import { assert, isOfSchema, load, step, task, thrown } from './check.mjs';

const { ChatOpenAI, OpenAIEmbeddings } = load('@langchain/openai');
const { ChatOllama } = load('@langchain/ollama');
const { model, custom, expected, prompt, schema, tokens } = task;
const configuration = { baseURL: `${task.url}/v1` };
const openai = (more = {}) =>
  new ChatOpenAI({ model, temperature: 0, maxTokens: tokens, apiKey: 'none', configuration, maxRetries: 0, ...more });
const ollama = (more = {}) =>
  new ChatOllama({
    model,
    temperature: 0,
    repeatPenalty: 1,
    numPredict: tokens,
    baseUrl: task.url,
    maxRetries: 0,
    ...more,
  });

for (const [name, make] of [
  ['openai', openai],
  ['ollama', ollama],
]) {
  await step(`${name}: chat`, async () => {
    const answer = await make().invoke(prompt);
    assert.equal(answer.content, expected.model);
    assert.ok(answer.usage_metadata.output_tokens > 0);
  });

  await step(`${name}: stream`, async () => {
    let text = '';
    for await (const chunk of await make().stream(prompt)) text += chunk.content;
    assert.equal(text, expected.model);
  });

  await step(`${name}: customised`, async () => {
    assert.equal((await make({ model: custom }).invoke(prompt)).content, expected.custom);
  });

  await step(`${name}: errors`, async () => {
    const missing = await thrown(() => make({ model: 'nope' }).invoke(prompt));
    assert.match(String(missing.message), /nope|not found|does not exist/);
  });

  await step(
    `${name}: json_schema`,
    async () => {
      const structured = make({ maxTokens: 64, numPredict: 64 }).withStructuredOutput(schema, {
        method: 'jsonSchema',
        name: 'team',
      });
      isOfSchema(await structured.invoke(prompt));
    },
    'schema',
  );
}

await step(
  'openai: tools',
  async () => {
    const tools = [{ type: 'function', function: { name: 'assign', parameters: schema } }];
    const bound = openai({ maxTokens: 64 }).bindTools(tools, { tool_choice: 'required' });
    isOfSchema((await bound.invoke(prompt)).tool_calls[0].args);
  },
  'tools',
);

await step('openai: responses', async () => {
  const answer = await openai({ useResponsesApi: true, maxTokens: 16 }).invoke(prompt);
  assert.ok(answer.text.startsWith(expected.model.slice(0, 4)));
});

await step('openai: embeddings', async () => {
  const embeddings = await new OpenAIEmbeddings({ model, apiKey: 'none', configuration }).embedDocuments(['a', 'b']);
  assert.equal(embeddings.length, 2);
});
