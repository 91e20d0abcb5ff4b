/** Which trainer trains a pool, and what it is told. Free of any tensor library: command lines and fingerprints read it. */

/** `own`: crayon's own engine; `torch`: PyTorch in another process. */
export const TRAINER_NAMES = ['own', 'torch'] as const;
export type TrainerName = (typeof TRAINER_NAMES)[number];

/** Of weights and activations in an external trainer; adapters, moments and losses are float32 always. */
export const TRAINER_DTYPES = ['float32', 'bfloat16'] as const;

export interface TrainerOptions {
  name: TrainerName;
  /** the Python of an external trainer: a path, or a name that is looked for */
  python: string;
  dtype: (typeof TRAINER_DTYPES)[number];
  /** processes of an external trainer that share every batch: one for each GPU */
  processes: number;
}

export const TRAINER_DEFAULTS: TrainerOptions = {
  name: 'own',
  python: process.platform === 'win32' ? 'python' : 'python3',
  dtype: 'float32',
  processes: 1,
};

/** What of it a pool's numbers depend on, for fingerprints and manifests: nothing to say of crayon's own. */
export function trainerRecord(trainer: TrainerOptions | undefined): Pick<TrainerOptions, 'name' | 'dtype'> | undefined {
  if (trainer === undefined || trainer.name === 'own') return undefined;
  return { name: trainer.name, dtype: trainer.dtype };
}
