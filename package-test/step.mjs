/** Does something, says so, and returns what it returned or resolved to. */
export async function step(what, action) {
  const started = performance.now();
  try {
    const result = await action();
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`✓ ${what} (${seconds} s)`);
    return result;
  } catch (error) {
    console.log(`✗ ${what}`);
    throw error;
  }
}
