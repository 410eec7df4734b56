/** For states that no event announces. */
import { setTimeout as wait } from 'node:timers/promises';

/** Resolves once `holds` says so. What never holds runs into the time limit of the test. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await wait(2);
}
