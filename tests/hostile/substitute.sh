# A variable that doubles, and a command within a command within a command.
x=x; f() { x=$x$x; y=$(f); }; f
