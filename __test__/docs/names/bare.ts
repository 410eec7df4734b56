/** The application of the fragments that install a plugin themselves. */

import { createApp } from 'nextrush';

export const app = createApp();
app.listen(3000);
