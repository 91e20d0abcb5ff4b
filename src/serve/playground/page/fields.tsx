/** Fields of the page's forms: each shows a value and sets it. */

import type { Signal } from '@preact/signals';

export function Check({ label, of }: { label: string; of: Signal<boolean> }) {
  return (
    <label class="check">
      <input
        type="checkbox"
        checked={of}
        onChange={(event) => {
          of.value = event.currentTarget.checked;
        }}
      />
      {label}
    </label>
  );
}

interface NumberFieldOf {
  label: string;
  of: { value: number };
  min: number;
  max?: number;
  step: number;
}

export function NumberField({ label, of, min, max, step }: NumberFieldOf) {
  return (
    <label>
      {label}
      <input
        type="number"
        {...{ min, step, value: of.value }}
        max={max}
        onChange={(event) => {
          if (event.currentTarget.validity.valid && event.currentTarget.value !== '') {
            of.value = event.currentTarget.valueAsNumber;
          } else event.currentTarget.value = String(of.value);
        }}
      />
    </label>
  );
}
