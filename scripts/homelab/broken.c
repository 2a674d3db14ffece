/* A release that is broken: it passes for the program and for its migrations, and does not serve. With -DHANGS it runs
   and never becomes ready, else it ends at once. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **words) {
    const char *command = count > 1 ? words[1] : "serve";
    if (strcmp(command, "--version") == 0) return puts("shunt 0.0.0 (broken)") < 0;
    if (strcmp(command, "migrate") == 0) return 0;
    if (strcmp(command, "serve") != 0) return 1;
#ifdef HANGS
    for (;;) pause();
#endif
    fputs("a release that ends at once\n", stderr);
    return 1;
}
