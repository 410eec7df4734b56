/** Serves the quick start, and says what else there is to see. */

import { serve } from '../examples/launch.js';
import { start } from '../examples/quick-start.js';

console.log(`Two tabs that talk, on one page. More to see, each by one command:

  npm run demo:chat        rooms, who is here, who is typing, and nothing missed after an outage
  npm run demo:dashboard   thousands of values a second, drawn live, and what they cost the server
  npm run demo:game        several players in one world, which the server alone decides on
`);
await serve(start);
