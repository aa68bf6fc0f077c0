# A pattern that is tried in all ways.
x=$(printf 'a%.0s' {1..200})
shopt -s extglob
[[ $x == +(+(+(a)))b ]]
while :; do [[ $x == *a*a*a*a*a*a*a*a*a*a*a*a*b ]]; done
