// An expression that takes twice as long for each letter.
/^(a+)+$/.test('a'.repeat(64) + 'b');
