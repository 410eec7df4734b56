/** The processes of a soak. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** How long a process may take for an answer or its end, in milliseconds. */
export const ANSWER_LIMIT = 60_000;

/**
 * Starts a process of this folder that ends with this one. Its failure, before it has been told to
 * end, is the failure of whatever is awaited next.
 * @param {'server' | 'clients' | 'cluster/node' | 'cluster/members'} name
 * @param {string[]} args
 */
export function startProcess(name, args) {
  const file = fileURLToPath(new URL(`${name}.mjs`, import.meta.url));
  const child = fork(file, args, { execArgv: ['--expose-gc'], stdio: ['ignore', 2, 2, 'ipc'] });
  // What cannot be sent to it any more is told by its end.
  child.on('error', () => {});
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const exited = once(child, 'exit').then(([code, signal]) => {
    process.off('exit', kill);
    return signal ?? `status ${code}`;
  });
  const failure = exited.then((exit) => {
    throw new Error(`the ${name} process ended with ${exit}`);
  });
  failure.catch(() => {});

  /** The next message with a certain field. */
  function answer(field) {
    const message = new Promise((resolve) => {
      child.on('message', function take(candidate) {
        if (!(field in candidate)) return;
        child.off('message', take);
        resolve(candidate);
      });
    });
    return Promise.race([message, failure, inTime(`the ${name} process did not answer`)]);
  }

  return {
    answer,
    exited,
    ask(question, field) {
      const answered = answer(field);
      child.send(question);
      return answered;
    },
    /** Says something that needs no answer. */
    tell(message) {
      if (child.connected) child.send(message);
    },
    kill: (signal) => child.kill(signal),
    /** Has it end by itself; resolves with how it did. */
    stop() {
      child.send('stop');
      return Promise.race([exited, wait(ANSWER_LIMIT, 'not at all', { ref: false })]);
    },
  };
}

async function inTime(complaint) {
  await wait(ANSWER_LIMIT, undefined, { ref: false });
  throw new Error(`${complaint} within ${ANSWER_LIMIT / 1000} seconds`);
}
