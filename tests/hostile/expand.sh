# One word that becomes a thousand million.
echo {1..1000000000}
