import { onTestFinished, vi } from 'vitest';
import { queue } from './events.js';

/** What is printed to stderr from now on, by the arguments; it is kept off the screen. */
export function stderr() {
  const printed = queue<unknown[]>();
  const spy = vi.spyOn(console, 'error').mockImplementation((...args) => printed.push(args));
  onTestFinished(() => spy.mockRestore());
  return printed;
}
