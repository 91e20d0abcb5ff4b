"""A Llama for pretraining: the same function as transformers' LlamaForCausalLM, with the weights of all layers stacked.

Stacked weights let Muon treat all layers in one batched product, and let q, k, v be one matrix product.
`to_hf` / `from_hf` are the only places that know the Hugging Face names.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

HEAD = 32  # size of one attention head


class Llama(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        D, L, FF, V = (config[k] for k in ("hidden_size", "layers", "intermediate_size", "vocab_size"))
        assert config["heads"] * HEAD == D, f"hidden_size {D} must be heads {config['heads']} x {HEAD}"
        self.embed = nn.Parameter(torch.randn(V, D) * 0.02)
        self.attention = nn.Parameter(torch.randn(L, 4, D, D) * D**-0.5)  # q, k, v, o; each (out, in)
        self.gate_up = nn.Parameter(torch.randn(L, 2, FF, D) * D**-0.5)
        self.down = nn.Parameter(torch.randn(L, D, FF) * FF**-0.5)
        self.norms = nn.Parameter(torch.ones(L, 2, D))
        self.norm = nn.Parameter(torch.ones(D))
        with torch.no_grad():  # what writes to the residual stream starts small
            self.attention[:, 3] *= (2 * L) ** -0.5
            self.down *= (2 * L) ** -0.5
        angles = torch.outer(
            torch.arange(config["max_positions"]).float(),
            config["rope_theta"] ** (-torch.arange(0, HEAD, 2).float() / HEAD),
        )
        self.register_buffer("cos", angles.cos(), persistent=False)  # (positions, HEAD / 2)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids, targets=None):
        """ids (B, T) -> logits (B, T, V), or with targets the mean cross-entropy (targets < 0 do not count)."""
        B, T = ids.shape
        config = self.config
        D, H, eps = config["hidden_size"], config["heads"], config["rms_eps"]
        cos, sin = self.cos[:T], self.sin[:T]

        def rotate(x):  # (B, H, T, HEAD), the two halves as transformers pairs them
            a, b = x.chunk(2, dim=-1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).type_as(x)

        x = F.embedding(ids, self.embed)
        for layer in range(config["layers"]):
            h = F.rms_norm(x, (D,), self.norms[layer, 0], eps)
            qkv = F.linear(h, self.attention[layer, :3].reshape(3 * D, D))
            q, k, v = qkv.view(B, T, 3, H, HEAD).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
            x = x + F.linear(y.transpose(1, 2).reshape(B, T, D), self.attention[layer, 3])
            h = F.rms_norm(x, (D,), self.norms[layer, 1], eps)
            gate, up = F.linear(h, self.gate_up[layer].reshape(-1, D)).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, self.down[layer])
        logits = F.linear(F.rms_norm(x, (D,), self.norm, eps), self.embed)
        if targets is None:
            return logits
        return F.cross_entropy(logits.view(-1, logits.size(-1)).float(), targets.reshape(-1), ignore_index=-1)


def to_hf_views(model):
    """The parts of the stacked weights under the names of LlamaForCausalLM (lm_head is tied, hence absent)."""
    state = {"model.embed_tokens.weight": model.embed, "model.norm.weight": model.norm}
    for layer in range(model.config["layers"]):
        prefix = f"model.layers.{layer}"
        for i, name in enumerate(("q_proj", "k_proj", "v_proj", "o_proj")):
            state[f"{prefix}.self_attn.{name}.weight"] = model.attention[layer, i]
        for i, name in enumerate(("gate_proj", "up_proj")):
            state[f"{prefix}.mlp.{name}.weight"] = model.gate_up[layer, i]
        state[f"{prefix}.mlp.down_proj.weight"] = model.down[layer]
        state[f"{prefix}.input_layernorm.weight"] = model.norms[layer, 0]
        state[f"{prefix}.post_attention_layernorm.weight"] = model.norms[layer, 1]
    return state


def to_hf(model):
    """State dict of LlamaForCausalLM in float32."""
    return {name: tensor.detach().float().cpu().contiguous().clone() for name, tensor in to_hf_views(model).items()}


def from_hf(state, config):
    """The stacked model of an exported directory: its state dict (any float type) and its config.json."""
    model = Llama({"hidden_size": config["hidden_size"], "layers": config["num_hidden_layers"], "heads": config["num_attention_heads"],
                   "intermediate_size": config["intermediate_size"], "vocab_size": config["vocab_size"],
                   "max_positions": config["max_position_embeddings"], "rope_theta": config["rope_theta"], "rms_eps": config["rms_norm_eps"]})
    with torch.no_grad():
        for name, target in to_hf_views(model).items():
            target.copy_(state[name])
    return model


def hf_config(config):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "hidden_size": config["hidden_size"],
        "initializer_range": 0.02,
        "intermediate_size": config["intermediate_size"],
        "max_position_embeddings": config["max_positions"],
        "mlp_bias": False,
        "num_attention_heads": config["heads"],
        "num_hidden_layers": config["layers"],
        "num_key_value_heads": config["heads"],
        "rms_norm_eps": config["rms_eps"],
        "rope_scaling": None,
        "rope_theta": config["rope_theta"],
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
        "use_cache": True,
        "vocab_size": config["vocab_size"],
    }


@torch.no_grad()
def grow(small, large):
    """Copies `small` into the wider and deeper `large` so that both compute the same logits at first.

    New hidden dimensions carry zero (embedding rows, the rows of o and down that write them), new heads and new
    feed-forward units write zero, new layers write zero, and the norms make up for the mean square now being taken over
    more dimensions. What reads the new dimensions keeps its random start, so that everything can learn.
    """
    d, D = small.config["hidden_size"], large.config["hidden_size"]
    f = small.config["intermediate_size"]
    layers = small.config["layers"]
    scale = (d / D) ** 0.5
    large.embed.zero_()
    large.embed[:, :d] = small.embed
    large.attention[:, 3].zero_()
    large.down.zero_()
    large.norm[:d] = small.norm * scale
    for layer in range(layers):
        for i in range(3):
            large.attention[layer, i, :d, :d] = small.attention[layer, i]
        large.attention[layer, 3, :d, :d] = small.attention[layer, 3]
        large.gate_up[layer, :, :f, :d] = small.gate_up[layer]
        large.down[layer, :d, :f] = small.down[layer]
        large.norms[layer, :, :d] = small.norms[layer] * scale
