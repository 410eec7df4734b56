/**
 * Loaded before each program of the documentation: whatever port it listens on becomes the one in
 * `DOCS_PORT`, and every address becomes 127.0.0.1. Whoever wants any port gets any.
 */
import net from 'node:net';

const { listen } = net.Server.prototype;

net.Server.prototype.listen = function (...args) {
  if ((args[0]?.port ?? args[0]) === 0) return listen.apply(this, args);
  const callback = args.findLast((argument) => typeof argument === 'function');
  return listen.call(this, Number(process.env.DOCS_PORT), '127.0.0.1', callback);
};
