import { describe, expect, it } from 'vitest';
import { chosenProjections, PROJECTIONS, projectionsOf } from '../../src/hf/families.js';
import { errorOf } from '../helpers/files.js';

describe('projections that LoRA can target', () => {
  it("are a family's own, by their names in the checkpoint", () => {
    expect(projectionsOf('phi3')).toEqual([
      'self_attn.qkv_proj',
      'self_attn.o_proj',
      'mlp.gate_up_proj',
      'mlp.down_proj',
    ]);
    expect(projectionsOf('gemma3_text')).toEqual(projectionsOf('llama'));
    expect(PROJECTIONS).toEqual(expect.arrayContaining(['q_proj', 'down_proj', 'qkv_proj', 'gate_up_proj']));
  });

  it('are chosen by either name, in the order of the checkpoint', () => {
    expect(chosenProjections('llama', 'all')).toHaveLength(7);
    expect(chosenProjections('llama', ['v_proj', 'self_attn.q_proj'])).toEqual([
      'self_attn.q_proj',
      'self_attn.v_proj',
    ]);
  });

  it('are refused where the family has no such, with those it has', () => {
    const error = errorOf(() => chosenProjections('phi3', ['q_proj', 'o_proj']));
    expect(error).toMatchObject({ code: 'bad-option', hint: 'Choose from qkv_proj, o_proj, gate_up_proj, down_proj.' });
    expect(error.message).toContain('phi3 has no projection q_proj');
  });
});
