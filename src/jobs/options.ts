/** What keys of --engine-options have in common: values of a command line are texts. */

import * as z from 'zod';
import { whole } from '../files/schema.js';

/** A whole number, or the text of one. */
export const count = (min: number, max?: number) => z.coerce.number().pipe(whole(min, max));

export const TRIES = count(1, 100).default(3).describe('How often a unit is begun at most.');
