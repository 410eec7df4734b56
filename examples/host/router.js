/**
 * @typedef {import('./index.d.ts').RouteHandler} RouteHandler
 * @typedef {object} Node What may follow a segment.
 * @property {Map<string, Node>} children By segment.
 * @property {Node} [parameter] For any segment.
 * @property {string} [name] Of the parameter.
 * @property {Node} [rest] For all that follows.
 * @property {Map<string, RouteHandler>} handlers By method.
 */

/**
 * Finds the handler of a request. Literal segments come before parameters, and those before `*`.
 * Case counts; empty segments do not, so `/users`, `/users/` and `//users` are one path.
 */
export class Router {
  #root = newNode();

  /**
   * @param {string} method
   * @param {string} path Literal segments, `:params` of one segment each, `*` for the rest.
   * @param {RouteHandler} handler
   */
  add(method, path, handler) {
    let node = this.#root;
    for (const segment of segmentsOf(path)) node = follower(node, segment);
    node.handlers.set(method, handler);
  }

  /**
   * @param {string} method
   * @param {string} path
   * @returns {{ handler: RouteHandler, params: Record<string, string> } | undefined}
   */
  find(method, path) {
    let node = this.#root;
    const params = {};
    const segments = segmentsOf(path);
    for (const [index, segment] of segments.entries()) {
      const child = node.children.get(segment);
      if (child) {
        node = child;
      } else if (node.parameter) {
        node = node.parameter;
        params[node.name] = segment; // As it came, `%20` included.
      } else if (node.rest) {
        params['*'] = segments.slice(index).join('/');
        node = node.rest;
        break;
      } else {
        return undefined;
      }
    }
    const handler = node.handlers.get(method);
    return handler && { handler, params };
  }
}

/** @returns {Node} */
function newNode() {
  return { children: new Map(), handlers: new Map() };
}

/** The node that a segment of a pattern leads to, made where there is none. */
function follower(node, segment) {
  if (segment === '*') {
    node.rest ??= newNode();
    return node.rest;
  }
  if (segment.startsWith(':')) {
    node.parameter ??= { ...newNode(), name: segment.slice(1) };
    return node.parameter;
  }
  const child = node.children.get(segment) ?? newNode();
  node.children.set(segment, child);
  return child;
}

function segmentsOf(path) {
  return path.split('/').filter((segment) => segment !== '');
}
