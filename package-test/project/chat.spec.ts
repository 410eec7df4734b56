import { onTestFinished, test } from 'vitest';
import { chat } from './chat.js';
import { start } from './quick-start.js';

test('two clients talk', async () => {
  const { port, close } = await start();
  onTestFinished(close);
  await chat(port);
});
