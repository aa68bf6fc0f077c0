# Becomes itself for ever.
printf '#!/bin/bash\nexec "$0"\n' > /tmp/self
chmod +x /tmp/self
exec /tmp/self
