/** Ollama's own client for Node. */

import { assert, isOfSchema, load, messages, step, task, thrown } from './check.mjs';

const { Ollama } = load('ollama');
const { model, custom, expected, prompt, schema, tokens } = task;
const client = new Ollama({ host: task.url });
const options = { temperature: 0, repeat_penalty: 1, num_predict: tokens };

await step('models', async () => {
  const { models } = await client.list();
  const names = models.map(({ name }) => name);
  assert.ok(names.includes(`${model}:latest`) && names.includes(custom));
  assert.ok(models[0].size > 0 && models[0].details.family !== '');
  assert.ok((await client.show({ model })).capabilities.includes('completion'));
  assert.ok((await client.ps()).models.length >= 2);
  assert.match((await client.version()).version, /^\d+\.\d+/);
});

await step('chat', async () => {
  const answer = await client.chat({ model: `${model}:latest`, messages, options });
  assert.equal(answer.message.content, expected.model);
  assert.ok(answer.done && answer.eval_count > 0 && answer.total_duration > 0);
});

await step('stream', async () => {
  let text = '';
  let last;
  for await (const part of await client.chat({ model, messages, options, stream: true })) {
    text += part.message.content;
    last = part;
  }
  assert.equal(text, expected.model);
  assert.ok(last.done && last.prompt_eval_count > 0);
});

await step('customised', async () => {
  const { message } = await client.chat({ model: custom, messages, options });
  assert.equal(message.content, expected.custom);
});

await step('generate', async () => {
  assert.equal((await client.generate({ model, prompt, options })).response, expected.model);
  assert.equal(typeof (await client.generate({ model, prompt, raw: true, options })).response, 'string');
});

await step('embeddings', async () => {
  const { embeddings } = await client.embed({ model, input: ['a text', 'another'] });
  assert.equal(embeddings.length, 2);
  assert.deepEqual((await client.embeddings({ model, prompt: 'a text' })).embedding, embeddings[0]);
});

await step('errors', async () => {
  const missing = await thrown(() => client.chat({ model: 'nope', messages }));
  assert.equal(missing.status_code, 404);
  assert.match(missing.error, /nope/);
  const wrong = await thrown(() => client.chat({ model, messages, options: { temperature: 9 }, stream: true }));
  assert.equal(wrong.status_code, 400);
});

await step(
  'json_schema',
  async () => {
    const { message } = await client.chat({
      model,
      messages,
      format: schema,
      options: { ...options, num_predict: 64 },
    });
    isOfSchema(JSON.parse(message.content));
  },
  'schema',
);

await step(
  'tools',
  async () => {
    const tools = [
      { type: 'function', function: { name: 'assign', description: 'Assigns a team.', parameters: schema } },
    ];
    const { message } = await client.chat({ model, messages, tools, options: { ...options, num_predict: 64 } });
    for (const call of message.tool_calls ?? []) isOfSchema(call.function.arguments);
    const called = {
      role: 'assistant',
      content: '',
      tool_calls: [{ function: { name: 'assign', arguments: { team: 'Red', sure: true } } }],
    };
    const result = { role: 'tool', tool_name: 'assign', content: 'done' };
    const after = await client.chat({ model, messages: [...messages, called, result], tools, options });
    assert.ok(after.done);
  },
  'tools',
);
