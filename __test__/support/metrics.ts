/** Reads OpenMetrics text, as far as the plugin writes it. */

/** Values by name and labels, as they are written: `connections_closed_total{code="1000"}`. */
export function samplesOf(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const [, name = '', value] = /^nextrush_websocket_(\S+) (\S+)$/.exec(line) ?? [];
      return [name, Number(value)];
    }),
  );
}

/** The names of all samples, without labels. */
export function namesOf(text: string): Set<string> {
  const names = [...samplesOf(text).keys()].map((key) => key.replace(/\{.*/, ''));
  return new Set(names.map((name) => `nextrush_websocket_${name}`));
}

/** How many are in each bucket of a histogram, by its end, where there are any. */
export function bucketsOf(text: string, name: string): Record<string, number> {
  const found: Record<string, number> = {};
  let below = 0;
  for (const [key, count] of samplesOf(text)) {
    const end = new RegExp(`^${name}_bucket\\{le="(.*)"\\}$`).exec(key)?.[1];
    if (end === undefined) continue;
    if (count > below) found[end] = count - below;
    below = count;
  }
  return found;
}
