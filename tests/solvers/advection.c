/* Linear advection u_t + speed u_x = 0 on [0, 1), periodic, upwind differences; u0 = exp(-((x - 1/2) / width)^2).
 *
 * Usage: advection INPUT OUTPUT. INPUT is a namelist; OUTPUT is CSV with a row for each time, the time first.
 * In three corners of the box it misbehaves, as real programs do: it hangs (large speed, small width), crashes (both
 * large) or writes garbage (small speed, large width). */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static double entry(const char *text, const char *name) {
    const char *at = strstr(text, name);
    at = at ? strchr(at, '=') : NULL;
    if (!at) {
        fprintf(stderr, "namelist has no %s\n", name);
        exit(2);
    }
    return strtod(at + 1, NULL);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    char text[4096] = "";
    FILE *in = fopen(argv[1], "r"), *out = fopen(argv[2], "w");
    if (!in || !out) return 2;
    text[fread(text, 1, sizeof text - 1, in)] = 0;
    const double speed = entry(text, "speed"), width = entry(text, "width");
    const int n = (int)entry(text, "n_x"), n_t = (int)entry(text, "n_t");

    if (speed > 1.95 && width < 0.11)
        for (;;) pause();
    if (speed > 1.95 && width > 0.29) raise(SIGSEGV);
    if (speed < 0.55 && width > 0.29) {
        fprintf(out, "0.0,1.0,Inf+-\n!!");
        return fclose(out);
    }
    double *u = malloc(n * sizeof *u), *next = malloc(n * sizeof *u);
    const int steps = (int)ceil(speed * n / 0.8 / (n_t - 1));
    const double courant = speed * n / (steps * (n_t - 1));
    for (int i = 0; i < n; i++) u[i] = exp(-pow(((double)i / n - 0.5) / width, 2));
    for (int k = 0; k < n_t; k++) {
        fprintf(out, "%.17g", (double)k / (n_t - 1));
        for (int i = 0; i < n; i++) fprintf(out, ",%.17g", u[i]);
        fprintf(out, "\n");
        for (int s = 0; s < steps; s++) {
            for (int i = 0; i < n; i++) next[i] = u[i] - courant * (u[i] - u[(i + n - 1) % n]);
            memcpy(u, next, n * sizeof *u);
        }
    }
    free(u);
    free(next);
    fclose(in);
    return fclose(out);
}
