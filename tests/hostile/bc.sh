echo '9^9^9' | bc | tail -c 2
