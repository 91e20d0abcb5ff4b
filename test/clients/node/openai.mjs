/** The official client for Node: chat completions, completions, embeddings, and responses with its stream helper. */

import { assert, isOfSchema, load, messages, step, task, thrown } from './check.mjs';

const { default: OpenAI, NotFoundError, BadRequestError } = load('openai');
const { model, custom, expected, tokens: max_tokens, prompt, schema } = task;
const client = new OpenAI({ baseURL: `${task.url}/v1`, apiKey: 'none', maxRetries: 0 });
const ask = { model, messages, temperature: 0, max_tokens };

await step('models', async () => {
  const ids = [];
  for await (const { id } of client.models.list()) ids.push(id);
  assert.ok(ids.includes(model) && ids.includes(custom));
  assert.equal((await client.models.retrieve(custom)).parent, model);
});

await step('chat', async () => {
  const { choices, usage } = await client.chat.completions.create(ask);
  assert.equal(choices[0].message.content, expected.model);
  assert.ok(usage.completion_tokens > 0 && usage.completion_tokens <= max_tokens);
});

await step('stream', async () => {
  const stream = client.chat.completions.stream({ ...ask, stream_options: { include_usage: true } });
  let text = '';
  stream.on('content', (delta) => {
    text += delta;
  });
  const { choices, usage } = await stream.finalChatCompletion();
  assert.equal(text, expected.model);
  assert.equal(choices[0].message.content ?? '', expected.model);
  assert.ok(usage.total_tokens > 0);
});

await step('customised', async () => {
  const { choices, model: who } = await client.chat.completions.create({ ...ask, model: custom });
  assert.equal(choices[0].message.content, expected.custom);
  assert.equal(who, custom);
});

await step('completions', async () => {
  const { choices } = await client.completions.create({ model, prompt, temperature: 0, max_tokens });
  assert.equal(typeof choices[0].text, 'string');
});

await step('embeddings', async () => {
  const { data } = await client.embeddings.create({ model, input: ['a text', 'another'] });
  assert.equal(data.length, 2);
  assert.ok(Math.abs(Math.hypot(...data[0].embedding) - 1) < 1e-4);
});

await step('errors', async () => {
  const missing = await thrown(() => client.chat.completions.create({ ...ask, model: 'nope' }));
  assert.ok(missing instanceof NotFoundError && missing.code === 'model_not_found');
  const wrong = await thrown(() => client.chat.completions.create({ ...ask, temperature: 9 }));
  assert.ok(wrong instanceof BadRequestError && wrong.param === 'temperature');
});

const respond = { model, input: prompt, temperature: 0, max_output_tokens: Math.max(16, max_tokens) };
await step('responses', async () => {
  const whole = await client.responses.create(respond);
  assert.ok(whole.output_text.startsWith(expected.model.slice(0, 4)));
  const stream = client.responses.stream(respond);
  let text = '';
  stream.on('response.output_text.delta', ({ delta }) => {
    text += delta;
  });
  const final = await stream.finalResponse();
  assert.equal(text, whole.output_text);
  assert.equal(final.output_text, whole.output_text);
  assert.equal(final.usage.total_tokens, whole.usage.total_tokens);
  const kept = await thrown(() => client.responses.create({ ...respond, previous_response_id: whole.id }));
  assert.ok(kept instanceof BadRequestError && kept.param === 'previous_response_id');
});

await step(
  'json_schema',
  async () => {
    const format = { name: 'team', schema };
    const { choices } = await client.chat.completions.create({
      ...ask,
      max_tokens: 64,
      response_format: { type: 'json_schema', json_schema: format },
    });
    isOfSchema(JSON.parse(choices[0].message.content));
    const { output_text: text } = await client.responses.create({
      ...respond,
      max_output_tokens: 64,
      text: { format: { type: 'json_schema', ...format } },
    });
    isOfSchema(JSON.parse(text));
  },
  'schema',
);

await step(
  'tools',
  async () => {
    const tools = [{ type: 'function', function: { name: 'assign', parameters: schema } }];
    const more = { max_tokens: 64, tools, tool_choice: 'required' };
    const { choices } = await client.chat.completions.create({ ...ask, ...more });
    const [call] = choices[0].message.tool_calls;
    assert.equal(call.function.name, 'assign');
    isOfSchema(JSON.parse(call.function.arguments));
    const streamed = await client.chat.completions.stream({ ...ask, ...more }).finalChatCompletion();
    assert.deepEqual(streamed.choices[0].message.tool_calls[0].function.arguments, call.function.arguments);
    const { id } = streamed.choices[0].message.tool_calls[0];
    const result = { role: 'tool', tool_call_id: id, content: '{"done": true}' };
    const after = await client.chat.completions.create({
      ...ask,
      tools,
      messages: [...messages, streamed.choices[0].message, result],
    });
    assert.ok(after.choices[0].finish_reason);
    const response = await client.responses
      .stream({
        ...respond,
        ...{ max_output_tokens: 64, tool_choice: 'required' },
        tools: [{ type: 'function', name: 'assign', parameters: schema, strict: false }],
      })
      .finalResponse();
    const item = response.output.find(({ type }) => type === 'function_call');
    isOfSchema(JSON.parse(item.arguments));
  },
  'tools',
);
