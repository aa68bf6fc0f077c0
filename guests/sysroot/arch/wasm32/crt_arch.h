/* A module starts in src/start.c. */
