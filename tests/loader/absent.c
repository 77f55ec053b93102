// Linked against, and then nowhere to be found: its soname is no file's name.
int odd_absent(void);
int odd_absent(void) { return 1; }
