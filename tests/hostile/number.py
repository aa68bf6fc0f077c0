# A number with more digits than anybody can count.
x = 3
while True:
    x = x * x
