// Goes round for ever, whatever is thrown.
for (;;) { try { for (;;); } finally { continue; } }
