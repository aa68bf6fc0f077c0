awk 'BEGIN { x = "x"; for (;;) x = x x }'
