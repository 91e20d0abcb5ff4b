/** Learning rate by step: linear warm-up, then half a cosine down to a floor. */

export interface Schedule {
  /** the highest learning rate, reached at the end of the warm-up */
  learningRate: number;
  warmupSteps: number;
  totalSteps: number;
  /** the last learning rate as a share of the highest */
  finalShare: number;
}

/** The learning rate of step 0, 1, ..., totalSteps-1. */
export function learningRateAt(step: number, { learningRate, warmupSteps, totalSteps, finalShare }: Schedule): number {
  if (step < warmupSteps) return (learningRate * (step + 1)) / warmupSteps;
  const span = Math.max(1, totalSteps - warmupSteps);
  const progress = Math.min(1, (step - warmupSteps) / span);
  const cosine = 0.5 * (1 + Math.cos(Math.PI * progress));
  return learningRate * (finalShare + (1 - finalShare) * cosine);
}
