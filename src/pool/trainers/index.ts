/** The trainers: a new one is a file here, its name in options.ts and its line below. */

import type { TrainerName } from './options.js';
import { ownTrainer } from './own.js';
import { torchTrainer } from './torch.js';
import type { TrainerKind } from './trainer.js';

export const TRAINERS: Readonly<Record<TrainerName, TrainerKind>> = { own: ownTrainer, torch: torchTrainer };
