import { chat } from './chat.js';
import { start } from './quick-start.js';

// Nothing ends the process: it has to end by itself once everything is closed.
start().then(async ({ port, close }) => {
  await chat(port);
  await close();
  console.log('two clients have talked');
});
