/** What the page and the server tell each other, as far as no standard says it. It imports nothing: it is compiled for both. */

/** GET /v1/crayon: who can answer, by what it is decided, and what a customisation is made of. */
export interface CrayonFacts {
  object: 'crayon';
  version: string;
  /** What the base model is called in requests. */
  base: string;
  /** Whether the base name's adapters are weighed for each prompt. */
  is_gated: boolean;
  /** The server LLM's name; null without one. */
  server: string | null;
  /** Who answers where a request does not say. */
  mode: string;
  /** Whether a request may name another mode. */
  mode_per_request: boolean;
  signals: SignalFact[];
  /** Of an answer whose confidence is looked at: its first tokens, which come together; null for all of them. */
  held_tokens: number | null;
  /** Null where nothing can be customised. */
  pool: { clusters: ClusterFact[]; examples: { min: number; max: number } } | null;
}

export interface SignalFact {
  /** As in the field `signals` of an answer. */
  name: string;
  title: string;
  unit: string;
  /** Why the server answers where the threshold is crossed. */
  doubt: string;
  /** The side of the threshold on which the server answers. */
  to_server: 'below' | 'above';
  /** Null: it decides nothing. */
  threshold: number | null;
}

/** In the order of a customisation's coefficients. */
export interface ClusterFact {
  /** Training examples. */
  size: number;
  /** These by the name of their data set, the most first. */
  tasks: Record<string, number>;
}

/** The field `crayon` of an answer: who gave it, and why. */
export interface WhoAnswered {
  source: 'on_device' | 'in_cloud';
  reason: string;
  score: number | null;
  threshold: number | null;
  signals: Record<string, number>;
  fallback_from?: string;
  failure?: string;
}
