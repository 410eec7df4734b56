/** A WebSocket that comes back: what every page of the demos talks through. */

const FIRST_RETRY_MS = 300;
const LONGEST_RETRY_MS = 5000;

/**
 * Connects, and again whenever the connection is lost: twice as late after each failure, up to a limit,
 * and never all clients at the same moment.
 *
 * @param {() => string} path asked for at each attempt, so that it may say what is known already
 * @param {{ onOpen?(): void, onMessage(data: any): void, onState(words: string, isOpen: boolean): void }} listeners
 */
export function connect(path, { onOpen, onMessage, onState }) {
  let attempts = 0;
  let timer;
  /** @type {WebSocket} */
  let socket;

  function open() {
    clearTimeout(timer);
    const url = new URL(path(), location.href);
    url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      attempts = 0;
      onState('Connected', true);
      onOpen?.();
    };
    socket.onmessage = ({ data }) => onMessage(typeof data === 'string' ? JSON.parse(data) : data);
    socket.onclose = () => {
      const longest = Math.min(FIRST_RETRY_MS * 2 ** attempts, LONGEST_RETRY_MS);
      attempts += 1;
      onState('Connection lost, trying again…', false);
      timer = setTimeout(open, longest * (0.5 + Math.random() / 2));
    };
  }

  function sendRaw(data) {
    if (socket.readyState !== WebSocket.OPEN) return false;
    socket.send(data);
    return true;
  }

  open();
  return {
    /** Sends a value as JSON, if there is a connection; tells whether there was. */
    send: (value) => sendRaw(JSON.stringify(value)),
    /** The same for bytes. */
    sendBytes: (bytes) => sendRaw(bytes),
    /** Connects anew: the path says something else now. */
    renew() {
      socket.onclose = null;
      socket.onmessage = null;
      socket.close();
      attempts = 0;
      onState('Connecting…', false);
      open();
    },
  };
}

/** @param {string} id */
export function byId(id) {
  return /** @type {any} */ (document.getElementById(id));
}

/** An element with a class and a text, which is never taken for HTML. */
export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A colour that belongs to a name. */
export function hueOf(name) {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 65_521;
  // Names that are nearly the same are not nearly of the same colour.
  return (hash * 137) % 360;
}
