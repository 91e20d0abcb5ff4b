/** Vercel's AI SDK, by its provider for OpenAI-compatible servers, and by the one for OpenAI, which speaks /v1/responses. */

import { assert, isOfSchema, load, step, task, thrown } from './check.mjs';

const { generateObject, generateText, streamText, embedMany, jsonSchema, tool } = load('ai');
const { createOpenAICompatible } = load('@ai-sdk/openai-compatible');
const { createOpenAI } = load('@ai-sdk/openai');
const { model, custom, expected, prompt, schema, tokens } = task;
const provider = createOpenAICompatible({
  ...{ name: 'crayon', baseURL: `${task.url}/v1`, apiKey: 'none', supportsStructuredOutputs: true, includeUsage: true },
});
const ask = { model: provider(model), prompt, temperature: 0, maxOutputTokens: tokens, maxRetries: 0 };

await step('chat', async () => {
  const { text, usage } = await generateText(ask);
  assert.equal(text, expected.model);
  assert.ok(usage.outputTokens > 0);
});

await step('stream', async () => {
  const result = streamText(ask);
  let text = '';
  for await (const delta of result.textStream) text += delta;
  assert.equal(text, expected.model);
  assert.ok((await result.usage).totalTokens > 0);
});

await step('customised', async () => {
  assert.equal((await generateText({ ...ask, model: provider(custom) })).text, expected.custom);
});

await step('completions', async () => {
  assert.equal(typeof (await generateText({ ...ask, model: provider.completionModel(model) })).text, 'string');
});

await step('responses', async () => {
  const openai = createOpenAI({ baseURL: `${task.url}/v1`, apiKey: 'none' });
  const respond = { ...ask, system: 'Be short.', model: openai(custom), maxOutputTokens: 16 };
  const { text, usage } = await generateText(respond);
  assert.ok(text !== '' && usage.outputTokens > 0);
  const result = streamText(respond);
  let streamed = '';
  for await (const delta of result.textStream) streamed += delta;
  assert.equal(streamed, text);
  const missing = await thrown(() => generateText({ ...respond, model: openai('nope') }));
  assert.equal(missing.statusCode, 404);
});

await step('embeddings', async () => {
  const embedder = (provider.embeddingModel ?? provider.textEmbeddingModel)(model);
  const { embeddings } = await embedMany({ model: embedder, values: ['a text', 'another'] });
  assert.equal(embeddings.length, 2);
});

await step('errors', async () => {
  const missing = await thrown(() => generateText({ ...ask, model: provider('nope') }));
  assert.equal(missing.statusCode, 404);
  assert.match(missing.message, /does not exist/);
});

await step(
  'json_schema',
  async () => {
    const { object } = await generateObject({ ...ask, maxOutputTokens: 64, schema: jsonSchema(schema) });
    isOfSchema(object);
  },
  'schema',
);

await step(
  'tools',
  async () => {
    const tools = { assign: tool({ description: 'Assigns a team.', inputSchema: jsonSchema(schema) }) };
    const more = { maxOutputTokens: 64, tools, toolChoice: 'required' };
    const { toolCalls } = await generateText({ ...ask, ...more });
    isOfSchema(toolCalls[0].input);
    const streamed = await streamText({ ...ask, ...more }).toolCalls;
    assert.deepEqual(streamed[0].input, toolCalls[0].input);
  },
  'tools',
);
