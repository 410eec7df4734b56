const { chat } = require('./chat.js');
const { start } = require('./quick-start.js');

test('two clients talk', async () => {
  const { port, close } = await start();
  await chat(port);
  await close();
});
