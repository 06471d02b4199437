/**
 * The little that a job may let a reader know of the patient, as one line of text.
 */

import type { Shown } from './task.ts';

/** Empty where nothing is shown, which is most jobs. */
export function patientLine({ age, sex, indication }: Shown): string {
  const years = age === null ? '' : `${Math.round(age)} y`;
  return [years, sex, indication].filter((part) => part !== '').join(' · ');
}
