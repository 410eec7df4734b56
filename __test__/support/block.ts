/** Keeps the JavaScript thread from running anything, and leaves the cores to everybody else. */
export function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** The same as {@link block} as an expression, for scripts in a process of their own. */
export const blockSource = `((milliseconds) => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
})`;
