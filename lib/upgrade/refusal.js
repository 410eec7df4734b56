'use strict';

/** How long a refused client has to take the response and close. */
const LINGER_MS = 1000;

/** Ends our side and gives the client a moment to read what it was told. */
function endGracefully(socket) {
  const destroy = () => socket.destroy();
  // Unread bytes would turn the end into a reset, which may destroy the response on its way.
  socket.resume();
  socket.once('end', destroy);
  socket.end();
  setTimeout(destroy, LINGER_MS).unref();
}

module.exports = { endGracefully };
