/**
 * @typedef {import('./index.d.ts').RouteHandler} RouteHandler
 * @typedef {{ method: string, segments: string[], handler: RouteHandler }} Route
 */

/** Finds the handler of a request. The first route that was added and matches wins. */
export class Router {
  /** @type {Route[]} */
  #routes = [];

  /**
   * @param {string} method
   * @param {string} path Exact, or with `:params` of one segment each.
   * @param {RouteHandler} handler
   */
  add(method, path, handler) {
    this.#routes.push({ method, segments: path.split('/'), handler });
  }

  /**
   * @param {string} method
   * @param {string} path
   * @returns {{ handler: RouteHandler, params: Record<string, string> } | undefined}
   */
  find(method, path) {
    const segments = path.split('/');
    for (const route of this.#routes) {
      const params = route.method === method ? match(route.segments, segments) : undefined;
      if (params) return { handler: route.handler, params };
    }
    return undefined;
  }
}

/** The parameters of a path that fits a route; `undefined` where it does not fit. */
function match(pattern, segments) {
  if (pattern.length !== segments.length) return undefined;
  const params = {};
  for (const [index, expected] of pattern.entries()) {
    const actual = segments[index];
    if (expected.startsWith(':') && actual !== '') params[expected.slice(1)] = decode(actual);
    else if (expected !== actual) return undefined;
  }
  return params;
}

function decode(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
