import { describe, expect, it } from 'vitest';
import { chatRenderer } from '../../src/hf/chat-template.js';
import { errorOf } from '../helpers/files.js';

const render = (source: string, content = 'a') => {
  const now = new Date(2024, 6, 5, 15, 4, 9);
  const renderer = chatRenderer(
    source,
    (name) => (name === 'bos_token' ? '<s>' : null),
    'here',
    () => now,
  );
  return renderer([{ role: 'user', content }]);
};

describe('a chat template', () => {
  it('sees the messages, the special tokens that there are, and no tools', () => {
    const source =
      '{{ bos_token }}{% if eos_token is defined %}eos{% endif %}{% if tools is none and documents is none %}none{% endif %}' +
      '{% for m in messages %}{{ m.role + m["content"] }}{% endfor %}{% if add_generation_prompt %}:{% endif %}';
    expect(render(source)).toBe('<s>noneusera:');
  });

  it('may have ends of lines of any kind', () => {
    expect(render('{% if true %}\r\nx\r\n{% endif %}\r\ny\r')).toBe('x\ny');
  });

  it('never runs what a message says', () => {
    const content = "{{ 1 + 1 }}{% for %}{{ raise_exception('x') }}";
    expect(render('{{ messages[0].content }}', content)).toBe(content);
  });

  it("writes the day as Python's strftime does", () => {
    const source = "{{ strftime_now('%d %b %Y|%B %-d, %y|%A %a %H:%M:%S %I %p %e %m %%') }}";
    expect(render(source)).toBe('05 Jul 2024|July 5, 24|Friday Fri 15:04:09 03 PM  5 07 %');
  });

  it("refuses a conversation with the template's own message, whole", () => {
    const error = errorOf(() => render("{{ raise_exception('Roles must\nalternate') }}"));
    expect(error).toMatchObject({
      code: 'example-invalid',
      message: expect.stringMatching(/: Roles must\nalternate$/),
    });
    expect(error.message).not.toContain('here');
  });

  it.each([
    ['{{ messages[0].content.title() }}', 'É'],
    ['{{ messages }}', "[{'role': 'user', 'content': 'é'}]"],
    ['{{ none | trim }}', 'None'],
    ['{{ 1 | trim }}', '1'],
    ['{{ messages[0] | tojson }}', '{"role": "user", "content": "é"}'],
    ['{{ messages[0].content.zfill(3) }}', '00é'],
    ['{{ messages[0].name }}', ''],
  ])('writes as Python does: %s', (source, text) => {
    expect(render(source, 'é')).toBe(text);
  });

  it.each([
    ['{% for %}', /cannot be rendered/],
    ['{{ messages[0].content.casefold() }}', /str\.casefold is not supported/],
    ['{{ messages[0].content | xmlattr }}', /the filter "xmlattr"/],
    ["{{ strftime_now('%Q') }}", /strftime_now with %Q/],
    ["{{ strftime_now('%') }}", /strftime_now with %/],
    ['{{ messages[0].content.strip(chars="a") }}', /named arguments/],
    ['{{ messages[0].content.split("") }}', /split\(\) at an empty text/],
    ['{% for i in range(10 ** 9) %}{% endfor %}', /range\(\) of 1000000000 numbers/],
    ['{{ range(1, 2, 0) | length }}', /range\(\) of step 0/],
    ['{{ messages[3].content }}', /a list has no "3"/],
    ["{{ messages[3]['content'] }}", /a list has no "3"/],
    ['{{ (1).strip() }}', /a int has no "strip"/],
    ['{{ messages[0].name.strip() }}', /a dict has no "name"/],
    ['{% set _ = messages.append(1) %}', /list\.append\(\) changes/],
    [`{{ ${'('.repeat(50_000)} }}`, /cannot be rendered/],
  ])('is refused where it cannot be rendered: %.60s', (source, message) => {
    const error = errorOf(() => render(source, 'é'));
    expect(error.code).toBe('tokenizer-unsupported');
    expect(error.message).toMatch(message);
    expect(error.message).toMatch(/^here: /);
  });
});
