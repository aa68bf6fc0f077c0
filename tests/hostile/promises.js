// Leaves work behind faster than it is done.
const again = () => { Promise.resolve().then(again); Promise.resolve().then(again); };
again();
