/** How far long work has come, for whoever shows it. */

export interface Progress<Stage extends string = string> {
  /** what is under way; a new stage ends the one before */
  stage: Stage;
  /** of `total` units */
  done: number;
  total: number;
  /** for example the training loss */
  note?: string | undefined;
}
