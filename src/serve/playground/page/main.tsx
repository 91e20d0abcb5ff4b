/** The playground's entrance. */

import { render } from 'preact';
import { App } from './app.js';
import { open } from './state.js';

render(<App />, document.getElementById('page')!);
void open();
