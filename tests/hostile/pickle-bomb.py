# A pickle that runs what it likes: it is in the sandbox as everything else.
import pickle, os
class Bomb:
    def __reduce__(self):
        return (exec, ("import os\nopen('/workspace/kept.txt', 'w').write('gone')\nos.abort()",))
pickle.loads(pickle.dumps(Bomb()))
