// Starts programs that start programs.
const { spawnSync } = require('child_process');
spawnSync('node', ['-e', 'for (;;);'], { stdio: 'inherit' });
for (;;) spawnSync('sh', ['-c', 'while :; do :; done']);
